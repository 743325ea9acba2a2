"""Gives chunks their turns at an alias's workers, and says how long the others have to wait."""

import asyncio
import heapq
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

import structlog

from whisper_router import tracing
from whisper_router.errors import QueueFull, QueueTimeout, RouterError
from whisper_router.metrics import CHUNK_SECONDS, QUEUE_SECONDS
from whisper_router.scheduling.fair_queue import FairQueue, QueueFullError, Ticket
from whisper_router.supervisor.lease import Lease
from whisper_router.supervisor.pool import ModelPool

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


@dataclass(slots=True)
class FirstTurn:
    """What the first chunk of a request met in the queue.

    `position` is how many chunks were to have their turns before it when it came; None: it has not
    come. `waited_s` is how long its turn took to come, or to be given up; None: it still waits.
    """

    position: int | None = None
    waited_s: float | None = None


FirstTurns = dict[tuple[str, str], FirstTurn]
"""The first turns that somebody wants to know of, by key and request id."""


@dataclass(eq=False, slots=True)
class _Work:
    """A chunk that has a worker or, while it has not begun, gets one as soon as one is started."""

    cost_s: float
    began_s: float | None = None


@dataclass(eq=False, slots=True)
class _Place:
    ticket: Ticket
    turn: "asyncio.Future[_Work]"
    since_s: float


class Dispatcher:
    """The fair queue in front of one alias's pool.

    It lets as many chunks through as the alias has workers, so nobody ever waits in the pool for
    long and the order is decided here, as late as possible.
    """

    def __init__(
        self, pool: ModelPool, limits: QueueLimits, firsts: FirstTurns | None = None
    ) -> None:
        self.pool = pool
        self._limits = limits
        self._firsts = {} if firsts is None else firsts
        self._queue: FairQueue[_Place] = FairQueue(
            max_chunks=limits.max_chunks, max_requests=limits.max_requests
        )
        self._running: set[_Work] = set()
        self.rtf: float | None = None
        """Processing time ÷ audio time, the mean of the last chunks; None: none has run."""

    @asynccontextmanager
    async def lease(self, ticket: Ticket) -> AsyncIterator[Lease]:
        """Wait for the ticket's turn, and hold a worker until the block ends.

        Raises:
            QueueFull: too much waits already; `retry_after_s` says when to come back.
            QueueTimeout: the turn did not come in time.
            RouterError: as `ModelPool.lease`.
        """
        work = await self._turn(ticket)
        try:
            async with AsyncExitStack() as stack:
                with tracing.begin("worker", alias=self.pool.alias):  # it may have to be started
                    lease = await self._worker(stack)
                work.began_s = began_s = time.monotonic()
                yield lease
                took_s = time.monotonic() - began_s
                CHUNK_SECONDS.labels(self.pool.alias).observe(took_s)
                self._learn(took_s, ticket.cost_s)
        finally:
            self._leave(work)

    def waiting(self) -> Sequence[Waiting]:
        """Return what waits, in the order of the turns as they are now."""
        now_s = time.monotonic()
        places = list(self._queue.order())
        turns = self._turns(place.ticket.cost_s for place in places)
        return [
            Waiting(
                ticket=place.ticket,
                position=position,
                waited_s=now_s - place.since_s,
                estimate_s=round(turn_s, 1),
            )
            for position, (place, turn_s) in enumerate(zip(places, turns, strict=True))
        ]

    @property
    def length(self) -> int:
        """How many chunks wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many chunks have a worker, or are about to."""
        return len(self._running)

    async def _turn(self, ticket: Ticket) -> _Work:
        place = _Place(ticket, asyncio.get_running_loop().create_future(), time.monotonic())
        first = self._first(ticket)
        try:
            self._queue.push(place, ticket)
        except QueueFullError:
            if first is not None:
                first.position = len(self._queue)
            raise self._full() from None
        if first is not None:
            first.position = next(n for n, item in enumerate(self._queue.order()) if item is place)
        self._let_in()
        try:
            with tracing.begin("queue", alias=self.pool.alias, lane=ticket.lane.name.lower()):
                return await self._called(place)
        finally:
            waited_s = time.monotonic() - place.since_s
            lane = ticket.lane.name.lower()
            QUEUE_SECONDS.labels(self.pool.alias, lane).observe(waited_s)
            if first is not None:
                first.waited_s = waited_s

    async def _called(self, place: _Place) -> _Work:
        """Wait until `place` is called. Whoever stops waiting for it gives it up."""
        turn, ticket = place.turn, place.ticket
        try:
            async with asyncio.timeout(None if ticket.has_begun else self._limits.timeout_s):
                return await turn
        except BaseException as error:
            if not turn.done() or turn.cancelled():
                self._queue.discard(place)
            elif turn.exception() is None:  # it came in the same instant
                self._leave(turn.result())
            if isinstance(error, TimeoutError):
                raise self._timed_out(ticket) from error
            raise

    def _first(self, ticket: Ticket) -> FirstTurn | None:
        """Return where to note how this chunk fares, if it is the first of a watched request."""
        first = self._firsts.get((ticket.key, ticket.request_id))
        return first if first is not None and first.position is None else None

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

    def _leave(self, work: _Work) -> None:
        self._running.discard(work)
        self._let_in()
        if not self._running:
            self._queue.rest()

    def _let_in(self) -> None:
        while len(self._running) < self.pool.capacity:
            if (place := self._queue.pop()) is None:
                return
            if not place.turn.done():
                work = _Work(place.ticket.cost_s)
                self._running.add(work)
                place.turn.set_result(work)

    def _learn(self, took_s: float, audio_s: float) -> None:
        rtf = took_s / max(audio_s, 0.1)
        self.rtf = rtf if self.rtf is None else self.rtf + SMOOTHING * (rtf - self.rtf)

    def _turns(self, costs_s: Iterable[float]) -> Iterator[float]:
        """Yield in how many seconds each chunk of these costs has its turn, one after another."""
        now_s, rtf = time.monotonic(), FIRST_GUESS_RTF if self.rtf is None else self.rtf
        busy_s = [
            max(0.0, work.cost_s * rtf - (now_s - (work.began_s or now_s)))
            for work in self._running
        ]
        takes_s = (cost_s * rtf for cost_s in costs_s)
        return turns(busy_s, takes_s, workers=self.pool.capabilities.concurrency)

    def _full(self) -> QueueFull:
        """Return the refusal: a turn may come when all who wait now have had theirs."""
        costs_s = [place.ticket.cost_s for place in self._queue]
        *_, next_s = self._turns([*costs_s, 0.0])
        error = QueueFull(
            f"Too many requests wait for the model '{self.pool.alias}' "
            "(queue.max_requests, queue.max_chunks)."
        )
        error.retry_after_s = max(1, min(60, math.ceil(next_s)))
        return error

    def _timed_out(self, ticket: Ticket) -> QueueTimeout:
        log.warning("queue_timeout", alias=self.pool.alias, lane=ticket.lane.name.lower())
        return QueueTimeout(
            f"No worker of the model '{self.pool.alias}' was free within "
            f"{self._limits.timeout_s:g} s (queue.timeout_s)."
        )


def turns(busy_s: Sequence[float], takes_s: Iterable[float], *, workers: int) -> Iterator[float]:
    """Yield when each piece of work begins if the first worker that is free takes the next one.

    Pure. Seconds from now; `busy_s` holds how long each worker that is busy now will be so.
    """
    free_s = [*sorted(busy_s)[-workers:], *[0.0] * (workers - len(busy_s))]
    heapq.heapify(free_s)
    for take_s in takes_s:
        yield heapq.heapreplace(free_s, free_s[0] + take_s)


class Dispatchers:
    """The dispatchers of all aliases, made when they are first needed."""

    def __init__(self, pool_of: Callable[[str], ModelPool], limits: QueueLimits) -> None:
        self._pool_of, self._limits = pool_of, limits
        self._made: dict[str, Dispatcher] = {}
        self._firsts: FirstTurns = {}
        self._places: dict[tuple[str, str], Waiting] = {}
        self._fresh_until_s = 0.0

    def __call__(self, name: str) -> Dispatcher:
        """Return the dispatcher of the alias that `name` means.

        Raises:
            ModelNotFound: there is no such model.
        """
        pool = self._pool_of(name)
        made = self._made.get(pool.alias)
        if made is None or made.pool is not pool:  # the configuration has changed
            self._made[pool.alias] = Dispatcher(pool, self._limits, self._firsts)
        return self._made[pool.alias]

    def waiting(self) -> Mapping[str, Sequence[Waiting]]:
        """Return the chunks that wait for each alias's workers, in the order of their turns."""
        return {alias: dispatcher.waiting() for alias, dispatcher in self._made.items()}

    def lengths(self) -> Mapping[str, int]:
        """Return how many chunks wait for each alias's workers."""
        return {alias: dispatcher.length for alias, dispatcher in self._made.items()}

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

    @contextmanager
    def watch(self, *, key: str, request_id: str) -> Iterator[FirstTurn]:
        """Note how the first chunk of a request fares, until the block ends.

        Of two requests of one key and id the later one is watched.
        """
        first = self._firsts[key, request_id] = FirstTurn()
        try:
            yield first
        finally:
            if self._firsts.get((key, request_id)) is first:
                del self._firsts[key, request_id]

    def running(self) -> Mapping[str, int]:
        """Return how many chunks run on each alias's workers."""
        return {alias: dispatcher.running for alias, dispatcher in self._made.items()}
