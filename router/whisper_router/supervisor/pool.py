"""Leases the workers of one alias, and sees to it that there are processes to lease."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import aiohttp
import structlog

from whisper_router.engine_api import Capabilities
from whisper_router.errors import (
    EngineCrashed,
    EngineHeldOff,
    EngineInterrupted,
    EngineStartFailed,
    EngineTimeout,
    RouterError,
    ShuttingDown,
    Unavailable,
    UpstreamRefused,
)
from whisper_router.supervisor import choice, overruns, report
from whisper_router.supervisor.breaker import held_off
from whisper_router.supervisor.lease import Lease
from whisper_router.supervisor.line import Grant, Line
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.output import follow
from whisper_router.supervisor.planner import Planner, PoolSpec
from whisper_router.supervisor.recycler import Recycler
from whisper_router.supervisor.run import Surroundings
from whisper_router.supervisor.slot import Slot
from whisper_router.supervisor.status import PoolBrief, PoolStatus

RETIRED_IDLE_S: Final = 1.0
"""A request that began before may still be between two of its chunks."""
SETTLE_S: Final = 10.0
"""How long a process may take to answer a probe after it broke off an answer."""

log = structlog.get_logger(__name__)


class ModelPool:
    """All processes of one alias, and the only one to decide who gets which worker.

    Waiting is first come, first served. `_dispatch` decides, after everything that could matter.
    """

    def __init__(self, spec: PoolSpec, surroundings: Surroundings) -> None:
        self.alias = spec.alias
        self.spec, self._surroundings = spec, surroundings
        self._slots: list[Slot] = []
        self._recycler = Recycler(
            spec.supervision, tasks=surroundings.tasks, look_again=self._dispatch
        )
        self._planner = Planner(spec, surroundings, on_change=self._changed)
        self._waiting = Line()
        self._holders: dict[int, Lease] = {}
        """Which lease each worker has last said to work for, by the worker's pid."""
        self._planning: asyncio.Task[None] | None = None
        self._plan_error: str | None = None
        self._unleased = asyncio.Event()
        self._unleased.set()
        self._unloads = 0
        self._is_dispatch_due = False
        self._is_closed = False
        self._is_retired = False
        self.is_pinned = False
        """Its processes stay although nobody uses them."""

    @property
    def capabilities(self) -> Capabilities:
        """What the alias's engine can do with its options and weights, as far as is known."""
        return self.spec.capabilities

    @property
    def capacity(self) -> int:
        """How many leases are of use now: servers elsewhere that are put aside take none."""
        return choice.capacity(self._slots, planned=self.capabilities.concurrency)

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[Lease]:
        """Wait for a worker, starting a process if needed, and hold it.

        An `EngineCrashed` that leaves the block becomes an `EngineInterrupted` if the process was
        ended and did not fail by itself.

        Raises:
            EngineStartFailed: no process could be started.
            ShuttingDown: the router is stopping.
            Unavailable: too many wait already.
            RouterError: what fetching the model raised.
        """
        grant = await self._acquire()
        lease = self._lease(grant)
        try:
            yield lease
            grant.slot.note_success()
            self._surroundings.tasks.spawn(self._measure(grant.slot), name=f"measure {self.alias}")
        except (EngineCrashed, EngineTimeout, UpstreamRefused, aiohttp.ClientError) as error:
            if isinstance(error, UpstreamRefused) and error.hold_off_s is not None:
                grant.slot.hold_off(error.hold_off_s)
            elif grant.slot.is_remote or not isinstance(error, EngineTimeout):
                await self._look_into(grant)
            if grant.connection.is_interrupted and type(error) is EngineCrashed:
                raise EngineInterrupted(str(error)) from error
            raise
        finally:
            self._holders = {pid: of for pid, of in self._holders.items() if of is not lease}
            grant.slot.wear.serve()
            self._release(grant)

    async def warm(self) -> None:
        """Return once a process serves. Raises what `lease` raises."""
        self._release(await self._acquire())

    def took_up(self, lease: Lease, pid: int) -> None:
        """Note which worker has taken up the chunk of a lease."""
        self._holders[pid] = lease
        for slot in self._slots:
            if lease.pid is not None and slot.process.pid == lease.pid != pid:
                slot.worker_pids.add(pid)

    async def kill_worker(self, lease: Lease, pid: int) -> bool:
        """End the worker that runs a lease's chunk for too long; see `overruns.kill_worker`."""
        grace_s = self.spec.supervision.worker_grace_s
        return await overruns.kill_worker(self._slots, self._holders, lease, pid, grace_s=grace_s)

    def distrust(self, lease: Lease, reason: str) -> None:
        """End the process of a chunk whose worker nobody knows; see `overruns.distrust`."""
        overruns.distrust(self._slots, self._holders, lease, reason)

    def output(self, lines: int) -> list[str]:
        """Return the last lines that each process printed, one process after the other."""
        return report.tail(self._slots, lines)

    def follow(self, lines: int) -> AsyncGenerator[list[str], None]:
        """Yield what processes print; see `output.follow`."""
        return follow(lambda: report.rings(self._slots), lines)

    def keep_alive(self, seconds: float | None) -> None:
        """Unload idle processes after so long until this is called again; infinity: never.

        None: after what the specification says.
        """
        for slot in self._slots:
            slot.keep_alive(RETIRED_IDLE_S if self._is_retired else seconds)
        self._dispatch()

    def retire(self) -> None:
        """Be unloaded whenever nobody uses it, from now on: another pool has taken its place."""
        self._is_retired = True
        self._recycler.forget()
        self.pin(is_pinned=False)
        self.keep_alive(None)

    def pin(self, *, is_pinned: bool) -> None:
        """Keep the processes although nobody uses them, or no longer."""
        self.is_pinned = is_pinned
        for slot in self._slots:
            slot.pin(is_pinned=is_pinned)
        self._dispatch()

    def brief(self) -> PoolBrief:
        """Return what is known of the pool at this moment."""
        return report.brief(
            self.spec, self._slots, state=self._state(), plan_error=self._plan_error
        )

    async def status(self) -> PoolStatus:
        """Return what the pool looks like, with memory measured now."""
        brief = self.brief()
        return PoolStatus(
            alias=self.alias,
            engine=self.spec.engine.name,
            state=brief.state,
            processes=[await slot.status() for slot in self._slots],
            leases=sum(slot.leases for slot in self._slots),
            waiting=len(self._waiting),
            capacity=sum(slot.workers for slot in self._slots) or None,
            model=self._planner.model,
            requested=brief.requested,
            idle_unload_s=self.spec.supervision.idle_unload_s,
            last_error=brief.last_error,
            breaker=brief.breaker,
            is_pinned=self.is_pinned,
            memory_bytes=brief.memory_bytes,
            idle_s=report.idle_s(self._slots),
            unloads_in_s=report.unloads_in_s(self._slots),
        )

    async def unload(self, *, force: bool = False) -> None:
        """Stop all processes once their leases have ended. Who waits gets fresh processes.

        With `force` the leases are not waited for: their chunks are interrupted. Of servers
        elsewhere there is nothing to unload; with `force` what they do for us is given up.
        """
        if not force and any(slot.is_remote for slot in self._slots):
            return
        self._unloads += 1
        self._recycler.forget()
        try:
            if not force:
                await self._unleased.wait()
            await asyncio.gather(*(slot.process.stop() for slot in self._slots))
        finally:
            self._unloads -= 1
            self._dispatch()

    async def close(self) -> None:
        """Stop all processes for good, leases or not, and refuse who waits or comes."""
        self._is_closed = True
        self._recycler.forget()
        self._waiting.fail(ShuttingDown("The server is shutting down."))
        if self._planning is not None:
            self._planning.cancel()
            await asyncio.wait({self._planning})
        await asyncio.gather(*(slot.close() for slot in self._slots))

    def kill(self) -> None:
        """Kill all processes now."""
        for slot in self._slots:
            slot.process.kill()

    async def _acquire(self) -> Grant:
        if self._is_closed:
            raise ShuttingDown("The server is shutting down.")
        if len(self._waiting) >= self.spec.supervision.queue_limit:
            raise Unavailable(f"Too many requests wait for the model '{self.alias}'.")
        for slot in self._slots:
            slot.has_failed = False  # who comes later gets a new attempt
        if choice.are_held_off(self._slots):
            raise self._refusal()
        place = self._waiting.join()
        self._dispatch()
        try:
            return await place
        except asyncio.CancelledError:
            if not place.cancelled() and place.exception() is None:
                self._release(place.result())  # it was granted in the same instant
            raise
        finally:
            self._waiting.leave(place)
            self._dispatch()

    def _refusal(self) -> EngineHeldOff:
        return held_off([slot.breaker for slot in self._slots], self.brief().last_error or "")

    def _lease(self, grant: Grant) -> Lease:
        return Lease(
            alias=self.alias,
            engine=self.spec.engine,
            http=grant.connection.http,
            endpoint=grant.connection.endpoint,
            ready=grant.slot.process.ready,
            pid=grant.slot.process.pid,
            unless_lost=grant.connection.unless_lost,
        )

    def _release(self, grant: Grant) -> None:
        grant.slot.leases -= 1
        grant.slot.note_use()
        grant.connection.drop()
        if not any(slot.leases for slot in self._slots):
            self._unleased.set()
        self._dispatch()

    async def _measure(self, slot: Slot) -> None:
        await slot.measure()
        await self._surroundings.memory.measure(slot)
        if slot.worn() is not None:
            self._dispatch()

    async def _look_into(self, grant: Grant) -> None:
        """Keep others away until it is clear whether the process is dying or only broke off."""
        slot = grant.slot
        slot.suspicions += 1
        try:
            settled = await slot.process.is_settled(grant.connection, timeout_s=SETTLE_S)
            if not settled and slot.leases == 1:
                slot.process.discard("it gave no sign of life after it broke off an answer")
        finally:
            slot.suspicions -= 1

    def _dispatch(self) -> None:
        self._is_dispatch_due = False
        if self._is_closed:
            return
        if self._slots:
            if not self._unloads:
                if not self._is_retired:
                    self._recycler.tend(self._slots, is_wanted=bool(self._waiting))
                self._waiting.serve(self._take)
            self._start_more()
            if self._waiting and choice.are_held_off(self._slots):
                self._waiting.fail(self._refusal())
            memory = self._surroundings.memory
            for slot in self._slots:
                slot.tend(is_wanted=bool(self._waiting))
                if not self._waiting and memory.is_in_line(slot):
                    slot.process.begin_stop()  # nobody shall leave for what nobody wants any more
            memory.poke()
        elif self._waiting and self._planning is None:
            self._planning = self._surroundings.tasks.spawn(self._plan(), name=f"plan {self.alias}")

    def _take(self) -> Grant | None:
        """Take a free worker, if there is one."""
        if (found := choice.offered(self._slots)) is None:
            return None
        slot, connection = found
        slot.leases += 1
        connection.hold()
        self._unleased.clear()
        return Grant(slot=slot, connection=connection)

    def _start_more(self) -> None:
        if not self._unloads:
            for slot in choice.to_start(self._slots, waiting=len(self._waiting)):
                slot.process.start()

    def _changed(self) -> None:
        """React to a process's change of state, which is still going on."""
        for slot in self._slots:
            slot.observe()
            if slot.process.state in (State.STOPPED, State.CLOSED):
                self._surroundings.memory.release(slot)
            if (failure := slot.take_failure()) is not None:
                if slot.begin_to_make_room(failure):
                    making = self._start_with_more_room(slot, failure)
                    self._surroundings.tasks.spawn(making, name=f"make room for {self.alias}")
                elif not choice.has_hope(self._slots):
                    self._waiting.fail(failure)
        if not self._is_dispatch_due:
            self._is_dispatch_due = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    async def _start_with_more_room(self, slot: Slot, failure: RouterError) -> None:
        """Memory ran out in a start: have idle ones leave, and start again if any did."""
        try:
            has_room = await self._surroundings.memory.clear(slot)
        finally:
            slot.makes_room = False
        if not has_room and not choice.has_hope(self._slots):
            slot.has_failed = True
            self._waiting.fail(failure)
        self._dispatch()

    def _state(self) -> State:
        if self._is_closed:
            return State.CLOSED
        if self._planning is not None:
            return State.STARTING
        return report.common_state(self._slots)

    async def _plan(self) -> None:
        """The first start tells how many processes there are to be."""
        try:
            self._slots = await self._planner.plan()
            for slot in self._slots:
                slot.is_pinned = self.is_pinned
                slot.keep_alive(RETIRED_IDLE_S if self._is_retired else None)
            self._plan_error = None
        except RouterError as error:
            self._refuse_plan(error)
        except Exception as error:  # a model source or an engine plugin may do anything
            log.exception("engine_plan_broken", alias=self.alias)
            reason = f"Model '{self.alias}' could not be started: {error}"
            self._refuse_plan(EngineStartFailed(reason))
        finally:
            self._planning = None
        self._dispatch()

    def _refuse_plan(self, error: RouterError) -> None:
        self._plan_error = str(error)
        self._waiting.fail(error)
