"""Gives chunks their turns at an alias's workers, and says how long the others have to wait."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from whisper_router.errors import QueueFull, QueueTimeout, RouterError
from whisper_router.scheduling.fair_queue import FairQueue, QueueFullError, Ticket
from whisper_router.supervisor.pool import Lease, ModelPool

SMOOTHING = 0.2
"""Weight of the newest chunk in the running mean of the alias's speed."""
FIRST_GUESS_RTF = 0.5
"""Processing time ÷ audio time that is assumed before the first chunk has run."""
FRESH_S = 0.5
"""How old the place may be that a request is told."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait for one alias, and for how long."""

    max_chunks: int
    max_requests: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A waiting chunk. `position` 0 is the next one; `estimate_s` is when its turn comes."""

    ticket: Ticket
    position: int
    waited_s: float
    estimate_s: float


@dataclass(eq=False, slots=True)
class _Place:
    ticket: Ticket
    turn: "asyncio.Future[None]"
    since_s: float


class Dispatcher:
    """The fair queue in front of one alias's pool.

    It lets as many chunks through as the alias has workers, so nobody ever waits in the pool for
    long and the order is decided here, as late as possible.
    """

    def __init__(self, pool: ModelPool, limits: QueueLimits) -> None:
        self.pool = pool
        self._limits = limits
        self._queue: FairQueue[_Place] = FairQueue(
            max_chunks=limits.max_chunks, max_requests=limits.max_requests
        )
        self._running = 0
        self._rtf = FIRST_GUESS_RTF

    @asynccontextmanager
    async def lease(self, ticket: Ticket) -> AsyncIterator[Lease]:
        """Wait for the ticket's turn, and hold a worker until the block ends.

        Raises:
            QueueFull: too much waits already; `retry_after_s` says when to come back.
            QueueTimeout: the turn did not come in time.
            RouterError: as `ModelPool.lease`.
        """
        await self._turn(ticket)
        try:
            async with AsyncExitStack() as stack:
                lease = await self._worker(stack)
                began_s = time.monotonic()
                yield lease
                self._learn(time.monotonic() - began_s, ticket.cost_s)
        finally:
            self._leave()

    def waiting(self) -> Sequence[Waiting]:
        """Return what waits, in the order of the turns as they are now."""
        now_s = time.monotonic()
        ahead_s, found = 0.0, []
        for position, place in enumerate(self._queue.order()):
            ahead_s += place.ticket.cost_s
            found.append(
                Waiting(
                    ticket=place.ticket,
                    position=position,
                    waited_s=now_s - place.since_s,
                    estimate_s=self._estimate_s(ahead_s),
                )
            )
        return found

    @property
    def running(self) -> int:
        """How many chunks have a worker, or are about to."""
        return self._running

    async def _turn(self, ticket: Ticket) -> None:
        turn = asyncio.get_running_loop().create_future()
        place = _Place(ticket, turn, time.monotonic())
        try:
            self._queue.push(place, ticket)
        except QueueFullError:
            raise self._full() from None
        self._let_in()
        try:
            async with asyncio.timeout(None if ticket.has_begun else self._limits.timeout_s):
                await turn
        except BaseException as error:
            if not turn.done() or turn.cancelled():
                self._queue.discard(place)
            elif turn.exception() is None:  # it came in the same instant
                self._leave()
            if isinstance(error, TimeoutError):
                raise self._timed_out(ticket) from error
            raise

    async def _worker(self, stack: AsyncExitStack) -> Lease:
        """Lease a worker. Where there is none to be had, nobody who waits now will get one.

        Each would otherwise make an attempt of its own, one after another, and wait for all those
        before it.
        """
        try:
            return await stack.enter_async_context(self.pool.lease())
        except RouterError as error:
            while (place := self._queue.pop()) is not None:
                if not place.turn.done():
                    place.turn.set_exception(error)
            raise

    def _leave(self) -> None:
        self._running -= 1
        self._let_in()
        if not self._running:
            self._queue.rest()

    def _let_in(self) -> None:
        while self._running < self.pool.capabilities.concurrency:
            if (place := self._queue.pop()) is None:
                return
            if not place.turn.done():
                self._running += 1
                place.turn.set_result(None)

    def _learn(self, took_s: float, audio_s: float) -> None:
        self._rtf += SMOOTHING * (took_s / max(audio_s, 0.1) - self._rtf)

    def _estimate_s(self, audio_s: float) -> float:
        return round(audio_s * self._rtf / self.pool.capabilities.concurrency, 1)

    def _full(self) -> QueueFull:
        waits_s = sum(place.ticket.cost_s for place in self._queue)
        error = QueueFull(
            f"Too many requests wait for the model '{self.pool.alias}' "
            "(queue.max_requests, queue.max_chunks)."
        )
        error.retry_after_s = max(1, min(60, math.ceil(self._estimate_s(waits_s))))
        return error

    def _timed_out(self, ticket: Ticket) -> QueueTimeout:
        log.warning("queue_timeout", alias=self.pool.alias, lane=ticket.lane.name.lower())
        return QueueTimeout(
            f"No worker of the model '{self.pool.alias}' was free within "
            f"{self._limits.timeout_s:g} s (queue.timeout_s)."
        )


class Dispatchers:
    """The dispatchers of all aliases, made when they are first needed."""

    def __init__(self, pool_of: Callable[[str], ModelPool], limits: QueueLimits) -> None:
        self._pool_of, self._limits = pool_of, limits
        self._made: dict[str, Dispatcher] = {}
        self._places: dict[tuple[str, str], Waiting] = {}
        self._fresh_until_s = 0.0

    def __call__(self, name: str) -> Dispatcher:
        """Return the dispatcher of the alias that `name` means.

        Raises:
            ModelNotFound: there is no such model.
        """
        pool = self._pool_of(name)
        if pool.alias not in self._made:
            self._made[pool.alias] = Dispatcher(pool, self._limits)
        return self._made[pool.alias]

    def waiting(self) -> Mapping[str, Sequence[Waiting]]:
        """Return the chunks that wait for each alias's workers, in the order of their turns."""
        return {alias: dispatcher.waiting() for alias, dispatcher in self._made.items()}

    def place(self, *, key: str, request_id: str) -> Waiting | None:
        """Return the next waiting chunk of a request, as it was up to `FRESH_S` ago.

        The order of all has to be worked out to know the place of one, and many may ask.
        """
        now_s = time.monotonic()
        if now_s >= self._fresh_until_s:
            self._fresh_until_s = now_s + FRESH_S
            self._places = {}
            for waiting in self.waiting().values():
                for item in waiting:
                    self._places.setdefault((item.ticket.key, item.ticket.request_id), item)
        return self._places.get((key, request_id))

    def running(self) -> Mapping[str, int]:
        """Return how many chunks run on each alias's workers."""
        return {alias: dispatcher.running for alias, dispatcher in self._made.items()}
