"""Which chunk runs next. Pure: no clock, no tasks, no processes.

Lanes are strict: nothing of a lane runs while one above it waits. Inside a lane keys share by
weight (start-time fair queueing, Goyal et al., SIGCOMM 1996: each key has a virtual time that
advances by cost ÷ weight, the smallest is served), the requests of one key take turns, and the
chunks of one request keep their order.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from whisper_router.domain import Lane

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Whose work it is. `cost_s` is what it is expected to take, in seconds of audio."""

    request_id: str
    key: str = ""
    lane: Lane = Lane.INTERACTIVE
    weight: float = 1.0
    cost_s: float = 1.0
    has_begun: bool = False
    """The request has had a turn: it is let in however many wait, or its work would be lost."""


class QueueFullError(Exception):
    """No more may wait."""


@dataclass(slots=True)
class _Key(Generic[T]):
    """One key's requests in the order of their turns, each with its chunks in order."""

    virtual_s: float = 0.0
    requests: "OrderedDict[str, deque[tuple[Ticket, T]]]" = field(default_factory=OrderedDict)


@dataclass(slots=True)
class _Lane(Generic[T]):
    keys: dict[str, _Key[T]] = field(default_factory=dict)
    clock_s: float = 0.0
    """The virtual time at which the last chunk of the lane began."""


class FairQueue(Generic[T]):
    """Waiting items with their tickets; `pop` gives the one whose turn it is.

    `max_chunks` and `max_requests` bound what waits: a request whose first chunk is in counts once,
    and one that has begun always goes on.
    """

    def __init__(self, *, max_chunks: int, max_requests: int) -> None:
        self._max_chunks, self._max_requests = max_chunks, max_requests
        self._lanes: dict[Lane, _Lane[T]] = {lane: _Lane() for lane in Lane}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: T, ticket: Ticket) -> None:
        """Let `item` wait.

        Raises:
            QueueFullError: too many chunks or requests wait already.
        """
        lane = self._lanes[ticket.lane]
        key = lane.keys.get(ticket.key)
        is_new = key is None or ticket.request_id not in key.requests
        is_full = self._count >= self._max_chunks
        if not ticket.has_begun and (
            is_full or (is_new and self._requests() >= self._max_requests)
        ):
            raise QueueFullError
        if key is None:
            key = lane.keys[ticket.key] = _Key()
        if not key.requests:  # a key that was away gets no credit for it
            key.virtual_s = max(key.virtual_s, lane.clock_s)
        key.requests.setdefault(ticket.request_id, deque()).append((ticket, item))
        self._count += 1

    def pop(self) -> T | None:
        """Take out the item whose turn it is; None when nothing waits."""
        for lane in self._lanes.values():
            waiting = [key for key in lane.keys.values() if key.requests]
            if waiting:
                return self._take(lane, min(waiting, key=lambda key: key.virtual_s))
        return None

    def discard(self, item: T) -> bool:
        """Take out `item` wherever it waits; False when it does not wait."""
        for lane in self._lanes.values():
            for key in lane.keys.values():
                for request_id, chunks in key.requests.items():
                    for entry in chunks:
                        if entry[1] is item:
                            chunks.remove(entry)
                            self._count -= 1
                            if not chunks:
                                del key.requests[request_id]
                            return True
        return False

    def rest(self) -> None:
        """Begin anew if nothing waits: what a key used while nobody else wanted it is no debt.

        (In the paper: at the end of a busy period the clock is set to the largest finish time.)
        """
        if not self._count:
            self._lanes = {lane: _Lane() for lane in Lane}

    def __iter__(self) -> Iterator[T]:
        """Yield what waits, in no particular order."""
        for lane in self._lanes.values():
            for key in lane.keys.values():
                for chunks in key.requests.values():
                    yield from (item for _, item in chunks)

    def order(self) -> Iterator[T]:
        """Yield what waits in the order in which it would be popped if nothing else came."""
        copy: FairQueue[T] = FairQueue(max_chunks=self._count, max_requests=self._count)
        copy._lanes = {number: _copy(lane) for number, lane in self._lanes.items()}
        copy._count = self._count
        while (item := copy.pop()) is not None:
            yield item

    def _take(self, lane: _Lane[T], key: _Key[T]) -> T:
        request_id, chunks = next(iter(key.requests.items()))
        ticket, item = chunks.popleft()
        if chunks:
            key.requests.move_to_end(request_id)
        else:
            del key.requests[request_id]
        lane.clock_s = key.virtual_s
        key.virtual_s += ticket.cost_s / ticket.weight
        self._count -= 1
        self._forget_idle(lane)
        return item

    def _forget_idle(self, lane: _Lane[T]) -> None:
        """Drop keys that wait for nothing and are not ahead of the clock, as new ones are."""
        for name, key in list(lane.keys.items()):
            if not key.requests and key.virtual_s <= lane.clock_s:
                del lane.keys[name]

    def _requests(self) -> int:
        return sum(len(key.requests) for lane in self._lanes.values() for key in lane.keys.values())


def _copy(lane: _Lane[T]) -> _Lane[T]:
    keys = {
        name: _Key(key.virtual_s, OrderedDict((r, deque(c)) for r, c in key.requests.items()))
        for name, key in lane.keys.items()
    }
    return _Lane(keys, lane.clock_s)
