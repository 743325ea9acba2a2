"""Remembers audio that crashed engines, so that it does not crash them again at once."""

import asyncio
import hashlib
import time
from collections.abc import Callable

from whisper_router.domain import Chunk

REMEMBERED_S = 600.0
BYTES_PER_SAMPLE = 4


class Poison:
    """Chunks by the hash of their samples, for `REMEMBERED_S` after they were added."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: dict[str, float] = {}

    async def add(self, chunk: Chunk) -> None:
        """Remember `chunk`."""
        self._until_s[await asyncio.to_thread(_hash, chunk)] = self._clock() + REMEMBERED_S

    async def holds(self, chunk: Chunk) -> bool:
        """Return whether these samples were added not long ago. Free while nothing is."""
        now_s = self._clock()
        self._until_s = {key: until for key, until in self._until_s.items() if until > now_s}
        return bool(self._until_s) and await asyncio.to_thread(_hash, chunk) in self._until_s


def _hash(chunk: Chunk) -> str:
    with chunk.path.open("rb") as file:
        file.seek(chunk.start * BYTES_PER_SAMPLE)
        samples = file.read((chunk.end - chunk.start) * BYTES_PER_SAMPLE)
    return hashlib.sha256(samples).hexdigest()
