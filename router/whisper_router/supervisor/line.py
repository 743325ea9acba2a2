"""Those who wait for a worker of one alias: first come, first served."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from whisper_router.errors import RouterError
from whisper_router.supervisor.connection import Connection
from whisper_router.supervisor.slot import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A worker of this process, and the way to it."""

    slot: Slot
    connection: Connection


class Line:
    """Places of those who wait. Who leaves is passed over."""

    def __init__(self) -> None:
        self._places: deque[asyncio.Future[Grant]] = deque()

    def __len__(self) -> int:
        return len(self._places)

    def join(self) -> asyncio.Future[Grant]:
        """Return a place at the end. Whoever has joined must also `leave`, served or not."""
        place: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._places.append(place)
        return place

    def leave(self, place: asyncio.Future[Grant]) -> None:
        """Give a place up."""
        if place in self._places:
            self._places.remove(place)

    def serve(self, take: Callable[[], Grant | None]) -> None:
        """Hand out what `take` takes, until it takes nothing more or nobody waits."""
        while self._places:
            if self._places[0].done():  # it left
                self._places.popleft()
            elif (grant := take()) is not None:
                self._places.popleft().set_result(grant)
            else:
                return

    def fail(self, error: RouterError) -> None:
        """Refuse all who wait."""
        while self._places:
            place = self._places.popleft()
            if not place.done():
                place.set_exception(error)
