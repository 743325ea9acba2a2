"""What can be told about an alias's processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_router.engine_api import ReadyInfo
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """One process, or a server elsewhere, which has a `url` instead.

    `gpu_bytes` is what it takes, as far as is known, of the GPU on which it computes.

    `rss_bytes` adds up its family; on Linux pages that workers share count once.
    `chunks` were served since it, or each of its workers that serves, was a fresh one; `recycles`
    is how often that was brought about because it had served long enough.
    """

    state: State
    pid: int | None
    leases: int
    starts: int
    crashes: int
    recycles: int
    chunks: int
    rss_bytes: int
    accelerator: str | None
    last_error: str | None
    url: str | None = None
    gpu: int | None = None
    gpu_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBrief:
    """What is known of an alias without measuring anything.

    `start_error` is why it cannot be started, as far as the last attempt tells, and None while a
    process serves; `last_error` also tells of crashes that were repaired since. `memory_bytes` is
    what its ready processes take, as far as is known, `gpu_memory_bytes` the same on GPUs.
    `breaker` tells whether a start would be attempted. `leases` is how many chunks run on its
    `workers`; starts, crashes and recycles are of all its processes since the router began.
    """

    state: State
    requested: str | None
    ready: ReadyInfo | None
    start_error: str | None
    last_error: str | None
    memory_bytes: int
    gpu_memory_bytes: int
    breaker: BreakerState
    leases: int = 0
    workers: int = 0
    starts: int = 0
    crashes: int = 0
    recycles: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """One alias. `capacity` is None until the first start tells; `model` likewise.

    `requested` is the accelerator that the configuration asks for, `accelerator` the one in
    effect while a process is ready. `memory_bytes` is what the budget of memory reckons with.
    `idle_s`: for how long nobody has used what serves; it is unloaded in `unloads_in_s`.
    """

    alias: str
    engine: str
    state: State
    processes: Sequence[ProcessStatus]
    leases: int
    waiting: int
    capacity: int | None
    model: Path | None
    requested: str | None
    idle_unload_s: float | None
    last_error: str | None
    breaker: BreakerState
    is_pinned: bool
    memory_bytes: int = 0
    idle_s: float | None = None
    unloads_in_s: float | None = None

    @property
    def pids(self) -> Sequence[int]:
        """The leaders' process ids."""
        return [process.pid for process in self.processes if process.pid is not None]

    @property
    def starts(self) -> int:
        """How often a process was started, all taken together."""
        return sum(process.starts for process in self.processes)

    @property
    def crashes(self) -> int:
        """How often a ready process ended unasked."""
        return sum(process.crashes for process in self.processes)

    @property
    def recycles(self) -> int:
        """How often a process, or its workers, was replaced for having served long enough."""
        return sum(process.recycles for process in self.processes)

    @property
    def rss_bytes(self) -> int:
        """Resident memory of all processes."""
        return sum(process.rss_bytes for process in self.processes)

    @property
    def accelerator(self) -> str | None:
        """What the first ready process computes on."""
        found = (process.accelerator for process in self.processes)
        return next((name for name in found if name is not None), None)
