"""Replaces an alias's processes that have served long enough, while nobody needs them.

One at a time, so that the others serve meanwhile. Forked workers are replaced without their
process where that is enough: a fork takes milliseconds, loading a model seconds.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextvars import Context

import structlog

from whisper_router.errors import ShuttingDown
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.slot import Slot
from whisper_router.supervisor.workers import end_worker
from whisper_router.tasks import Tasks

log = structlog.get_logger(__name__)


class Recycler:
    """Decides which process is recycled and when; owned by a pool, which calls `tend`.

    A process over a limit is recycled once it has rested for `recycle_idle_s` and nobody waits.
    One that never rests is leased no more from twice the limit on: who waits then may have to
    wait for a load, which costs less than memory that runs out.
    """

    def __init__(
        self, options: SupervisionOptions, *, tasks: Tasks, look_again: Callable[[], None]
    ) -> None:
        self._options, self._tasks, self._look_again = options, tasks, look_again
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_restart_wanted = False

    def tend(self, slots: Sequence[Slot], *, is_wanted: bool) -> None:
        """Begin to recycle a process if it is time. Never waits."""
        self._disarm()
        for each in slots:  # memory may have shrunk again, or the model's file be gone
            each.is_withheld &= each.worn() is not None and each.wear.is_overdue()
        slot = self._next(slots)
        if slot is None:
            return
        slot.is_withheld = slot.wear.is_overdue()
        if slot.leases or (is_wanted and not slot.is_withheld):
            return
        rest_s = 0.0 if slot.is_withheld else self._options.recycle_idle_s - slot.rested_s()
        if rest_s > 0:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(rest_s, self._look_again)
            return
        slot.suspicions += 1  # nothing is leased from here on
        self._is_restart_wanted = True
        # Whose request it was last has nothing to do with it.
        self._running = self._tasks.spawn(
            self._recycle(slot), name=f"recycle {slot.alias}", context=Context()
        )

    def forget(self) -> None:
        """Begin nothing more for now, and start nothing again: it is to be stopped."""
        self._disarm()
        self._is_restart_wanted = False

    def _next(self, slots: Sequence[Slot]) -> Slot | None:
        if self._running is not None and not self._running.done():
            return None
        if any(slot.process.state in (State.STARTING, State.STOPPING) for slot in slots):
            return None
        worn = [slot for slot in slots if slot.worn() is not None]
        return max(worn, key=lambda slot: (slot.wear.is_overdue(), slot.rested_s()), default=None)

    async def _recycle(self, slot: Slot) -> None:
        reason, chunks, pid = slot.worn(), slot.wear.chunks, slot.process.pid
        try:
            workers = await self._renew_workers(slot)
            if not workers and not await self._restart(slot):
                return
            slot.recycles += 1
            log.info(
                "engine_recycled",
                alias=slot.alias,
                pid=pid,
                workers=workers,
                reason=reason,
                chunks=chunks,
            )
        finally:
            slot.suspicions -= 1
            slot.is_withheld = False
            self._running = None
            self._look_again()

    async def _renew_workers(self, slot: Slot) -> int:
        """End the workers that have served: their parent forks others. Returns how many."""
        if slot.weights.is_replaced or not slot.worker_pids:
            return 0
        rows = [row for row in await slot.process.family() if row.pid in slot.worker_pids]
        slot.worker_pids.clear()  # those that are not there any more were replaced already
        grace_s = self._options.worker_grace_s
        await asyncio.gather(*(end_worker(row, grace_s=grace_s) for row in rows))
        if rows:
            slot.renew()
        return len(rows)

    async def _restart(self, slot: Slot) -> bool:
        """Stop the process and start it again, unless its model's file is gone."""
        process = slot.process
        if not await slot.weights.are_there() or process.state is not State.READY:
            return False
        starts = process.starts
        await process.stop()
        if self._is_restart_wanted and process.starts == starts and slot.can_start():
            with contextlib.suppress(ShuttingDown):
                process.start()
        return True

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
