"""A place in a pool: a process, the leases on it, and when it may be unloaded."""

import asyncio

import structlog

from whisper_router.errors import RouterError
from whisper_router.supervisor.connection import Connection
from whisper_router.supervisor.external import External
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.process import EngineProcess
from whisper_router.supervisor.status import ProcessStatus

log = structlog.get_logger(__name__)


class Slot:
    """A process and how much of it is leased. Written by its pool only, never across an await."""

    def __init__(
        self, process: EngineProcess | External, *, workers: int, idle_unload_s: float | None
    ) -> None:
        self.process, self.workers = process, workers
        self.leases = 0
        self.suspicions = 0
        """How many broken answers are being looked into; nothing is leased meanwhile."""
        self.has_failed = False
        """Its last start failed, and nobody new has come since."""
        self._idle_unload_s = idle_unload_s
        self._idle_timer: asyncio.TimerHandle | None = None

    def offer(self) -> Connection | None:
        """Return the way to a free worker, or None when there is none now."""
        if self.leases < self.workers and not self.suspicions:
            return self.process.serving()
        return None

    def can_start(self) -> bool:
        """Tell whether to start it may help."""
        return self.process.state is State.STOPPED and not self.has_failed

    def is_hopeful(self) -> bool:
        """Tell whether it serves, or may do so without anybody new asking."""
        return self.process.state in (State.STARTING, State.READY, State.STOPPING)

    def take_failure(self) -> RouterError | None:
        """Return why its start has failed, once."""
        if self.process.state is not State.STOPPED or self.has_failed:
            return None
        self.has_failed = self.process.start_failure is not None
        return self.process.start_failure

    def tend(self, *, is_wanted: bool) -> None:
        """Let the time to the idle unload run while nothing is leased, and only then."""
        if self.leases or is_wanted or self.process.state is not State.READY:
            self.disarm()
        elif self._idle_timer is None and self._idle_unload_s is not None:
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._idle_unload_s, self._unload)

    def disarm(self) -> None:
        """Forget about the idle unload."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None

    async def status(self) -> ProcessStatus:
        """Return what the process looks like, with its memory measured now."""
        rows = await self.process.family()
        ready = self.process.ready
        return ProcessStatus(
            state=self.process.state,
            pid=self.process.pid,
            leases=self.leases,
            starts=self.process.starts,
            crashes=self.process.crashes,
            rss_bytes=sum(row.rss_bytes for row in rows),
            accelerator=ready.accelerator if ready is not None else None,
            last_error=self.process.last_error,
        )

    def _unload(self) -> None:
        # Every grant disarms the timer in the same step, so nothing is leased here.
        self._idle_timer = None
        log.info("engine_idle", pid=self.process.pid, idle_s=self._idle_unload_s)
        self.process.begin_stop()
