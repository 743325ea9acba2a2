"""A place in a pool: a process, the leases on it, and when it may be unloaded."""

import asyncio
import math
import time
from collections.abc import Set
from contextvars import Context
from typing import Final

import structlog

from whisper_router.errors import EngineStartOutOfMemory, RouterError
from whisper_router.supervisor import proctable
from whisper_router.supervisor.breaker import Breaker, BreakerState
from whisper_router.supervisor.connection import Connection
from whisper_router.supervisor.external import External
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.memory import LINGER_S, Footprint, Tenant
from whisper_router.supervisor.process import EngineProcess
from whisper_router.supervisor.room import Occupant
from whisper_router.supervisor.status import ProcessStatus
from whisper_router.supervisor.wear import Wear
from whisper_router.supervisor.weights import Weights

MEASURE_EVERY_S: Final = 5.0

log = structlog.get_logger(__name__)


class Slot:
    """A process and how much of it is leased. Written by its pool only, never across an await."""

    def __init__(
        self,
        process: EngineProcess | External,
        *,
        workers: int,
        idle_unload_s: float | None,
        breaker: Breaker,
        footprint: Footprint | None = None,
        wear: Wear | None = None,
        measure_every_s: float = MEASURE_EVERY_S,
    ) -> None:
        self.process, self.workers, self.breaker = process, workers, breaker
        self.alias = process.alias
        self.footprint = footprint
        self.wear = wear or Wear()
        self.weights = Weights()
        self.worker_pids: set[int] = set()
        """Workers of the process, beside itself, that have served a chunk."""
        self.recycles = 0
        self.is_withheld = False
        """Nothing more is leased: it waits for its leases to end, and then it is recycled."""
        self._measure_every_s = measure_every_s
        self.is_pinned = False
        """It is unloaded neither for being idle nor to make room."""
        self._is_leaving = self._is_awaited = False
        self._seen = process.state
        self._since_s = self._used_s = 0.0
        self._measured_s = -math.inf
        self.leases = 0
        self.suspicions = 0
        """How many broken answers are being looked into; nothing is leased meanwhile."""
        self.has_failed = False
        """Its last start failed, and nobody new has come since."""
        self.makes_room = self._has_made_room = False
        """Others leave so that it can start, after memory ran out in its start."""
        self._configured_idle_s = self._idle_unload_s = idle_unload_s
        self._idle_timer: asyncio.TimerHandle | None = None
        self._failed_starts = process.failed_starts

    @property
    def preference(self) -> tuple[float, ...]:
        """What the place with the smallest value of gets the next lease.

        That is the one with the least work. Among those servers elsewhere take turns, behind them
        come those that failed lately. Processes have an order instead: the last ones may be idle
        for long enough to be unloaded.
        """
        if isinstance(self.process, External):
            return (self.process.standing.failures, self.leases, self._used_s)
        return (0, self.leases, 0.0)

    @property
    def is_held_off(self) -> bool:
        """Whether others are to be asked before this server."""
        process = self.process
        if not isinstance(process, External):
            return False
        return process.standing.is_held_off(now_s=time.monotonic())

    @property
    def capacity(self) -> int:
        """How many leases it takes at a time; a server that broke off answers is tried with one."""
        on_trial = isinstance(self.process, External) and self.process.standing.is_on_trial
        return 1 if on_trial else self.workers

    def offer(self) -> Connection | None:
        """Return the way to a free worker, or None when there is none now."""
        is_kept = self.suspicions or self.is_withheld or self._is_leaving
        return None if is_kept or self.leases >= self.capacity else self.process.serving()

    def can_start(self) -> bool:
        """Tell whether to start it may help."""
        return (
            self.process.state is State.STOPPED
            and not self.has_failed
            and not self.makes_room
            and self.breaker.state(now_s=time.monotonic()) is not BreakerState.OPEN
        )

    def is_hopeful(self) -> bool:
        """Tell whether it serves, or may do so without anybody new asking."""
        return self.makes_room or self.process.state in (
            State.STARTING,
            State.READY,
            State.STOPPING,
        )

    def observe(self) -> None:
        """Take note of the process's state, which has changed, and tell the breaker."""
        for _ in range(self.process.failed_starts - self._failed_starts):
            self.breaker.fail(now_s=time.monotonic())
        self._failed_starts = self.process.failed_starts
        before, self._seen = self._seen, self.process.state
        if self._seen is State.READY and before is not State.READY:
            self.breaker.succeed()
            self._since_s = self._used_s = time.monotonic()
            self.renew()
        elif self._seen is not State.STOPPING and self._seen is not State.READY:
            self._is_leaving = False

    def take_failure(self) -> RouterError | None:
        """Return why its start has failed, once."""
        if self.process.state is not State.STOPPED or self.has_failed:
            return None
        self.has_failed = self.process.start_failure is not None
        return self.process.start_failure

    def begin_to_make_room(self, failure: RouterError) -> bool:
        """Tell whether it is worth a second start once others have left: once for each failure."""
        if not isinstance(failure, EngineStartOutOfMemory) or self._has_made_room:
            self._has_made_room = False
            return False
        self.makes_room = self._has_made_room = True
        self.has_failed = False
        return True

    def tend(self, *, is_wanted: bool) -> None:
        """Let the time to the idle unload run while nothing is leased, and only then."""
        self._is_awaited = is_wanted
        if self._is_leaving and not self.leases:
            self.process.begin_stop()
        busy = self.leases or is_wanted or self.is_pinned
        if busy or self.process.state is not State.READY:
            self.disarm()
        elif self._idle_timer is None and self._idle_unload_s is not None:
            loop = asyncio.get_running_loop()
            # Between two chunks of one file nobody holds a lease for a moment.
            wait_s = max(self._idle_unload_s, LINGER_S)
            # Whoever used it last has nothing to do with its end.
            self._idle_timer = loop.call_later(wait_s, self._unload, context=Context())

    @property
    def idle_s(self) -> float | None:
        """For how long it serves and nobody has used it; None: it does not, or somebody does."""
        if self.leases or self.process.state is not State.READY:
            return None
        return time.monotonic() - self._used_s

    @property
    def unloads_in_s(self) -> float | None:
        """In how many seconds it is unloaded for being idle; None: it is not."""
        if self._idle_timer is None:
            return None
        return max(0.0, self._idle_timer.when() - asyncio.get_running_loop().time())

    # As a tenant of the memory: see `memory.Tenant`.

    @property
    def is_declared(self) -> bool:
        """Whether the configuration says how much memory it takes."""
        return self.footprint is not None and self.footprint.is_declared

    @property
    def size_bytes(self) -> int:
        """How much memory the process takes, or will take."""
        return 0 if self.footprint is None else self.footprint.size_bytes

    def occupant(self) -> Occupant[Tenant]:
        """Return what the process is in the memory now."""
        now_s, state = time.monotonic(), self.process.state
        is_used = self.leases > 0 or now_s - self._used_s < LINGER_S
        return Occupant(
            key=self,
            size_bytes=self.size_bytes,
            is_settled=state is State.READY and not self.is_pinned,
            is_leaving=self._is_leaving or state is State.STOPPING,
            is_wanted=is_used or self._is_awaited,
            since_s=self._since_s,
            used_s=self._used_s,
        )

    def pin(self, *, is_pinned: bool) -> None:
        """Keep the process, also if it was to leave and has not left yet; or no longer."""
        self.is_pinned = is_pinned
        if is_pinned and self.process.state is State.READY:
            self._is_leaving = False

    async def pids(self) -> Set[int]:
        """Return the process, its workers and what else they started, while it serves."""
        rows = await self.process.family()
        return {row.pid for row in rows} if self.process.state is State.READY else set()

    def leave(self) -> None:
        """Stop as soon as nothing is leased, and lease nothing any more until then."""
        self._is_leaving = True
        if not self.leases:
            self.process.begin_stop()

    async def measure(self) -> None:
        """After work was done: look at the model's file, and every few seconds at the memory."""
        now_s = time.monotonic()
        if self.footprint is not None and now_s - self._measured_s >= self._measure_every_s:
            self._measured_s = now_s
            await self._weigh(self.footprint)
        await self.weights.look()

    async def _weigh(self, footprint: Footprint) -> None:
        since_s, rows = self._since_s, await self.process.family()
        measured_bytes = await asyncio.to_thread(proctable.memory_bytes, rows)
        if self.process.state is State.READY and self._since_s == since_s:  # all of it was there
            footprint.learn(measured_bytes)
            self.wear.learn(measured_bytes)

    def worn(self) -> str | None:
        """Return why the process should be recycled; None: it should not, or cannot now."""
        if self.process.state is not State.READY:
            return None
        if self.weights.is_replaced:
            return "its model's file was replaced"
        if self.weights.is_gone and not self.worker_pids:
            return None  # it could not be loaded again
        return self.wear.verdict()

    def renew(self) -> None:
        """Take note that the process, or each of its workers that has served, is a fresh one."""
        self.wear.begin()
        self.worker_pids.clear()
        self.is_withheld = False

    def rested_s(self) -> float:
        """Return for how long nothing has been leased; 0 while something is."""
        return 0.0 if self.leases else time.monotonic() - self._used_s

    @property
    def is_remote(self) -> bool:
        """Whether it is a server elsewhere, which takes nothing here when it is started."""
        return isinstance(self.process, External)

    @property
    def is_resting(self) -> bool:
        """Whether it is a server that should not be asked yet while others serve."""
        return isinstance(self.process, External) and self.process.is_resting()

    def note_success(self) -> None:
        """Take note that a lease has ended with a whole answer."""
        if isinstance(self.process, External):
            self.process.note_success()

    def hold_off(self, seconds: float) -> None:
        """Take note that a server has too much to do."""
        if isinstance(self.process, External):
            self.process.hold_off(seconds)

    def note_use(self) -> None:
        """Take note that a lease has just ended."""
        self._used_s = time.monotonic()

    def keep_alive(self, seconds: float | None) -> None:
        """Let idle processes stay for so long from now on; infinity: for ever, None: as configured.

        Call `tend` afterwards.
        """
        idle_s = self._configured_idle_s if seconds is None else seconds
        self._idle_unload_s = None if idle_s == math.inf else idle_s
        self.disarm()

    async def close(self) -> None:
        """Stop the process for good."""
        self.disarm()
        await self.process.close()

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
            recycles=self.recycles,
            chunks=self.wear.chunks,
            rss_bytes=await asyncio.to_thread(proctable.memory_bytes, rows),
            accelerator=ready.accelerator if ready is not None else None,
            last_error=self.process.last_error,
            url=self.process.url if isinstance(self.process, External) else None,
            gpu=None if self.footprint is None else self.footprint.gpu,
            gpu_bytes=0 if self.footprint is None else self.footprint.gpu_bytes,
        )

    def _unload(self) -> None:
        # Every grant disarms the timer in the same step, so nothing is leased here.
        self._idle_timer = None
        log.info("engine_idle", alias=self.alias, pid=self.process.pid, idle_s=self._idle_unload_s)
        self.process.begin_stop()
