"""Remembers audio that crashed engines, so that it does not crash them again at once."""

import asyncio
import hashlib
import time
from collections.abc import Callable

from whisper_router.domain import Chunk

REMEMBERED_S = 600.0
BYTES_PER_SAMPLE = 4
READ_BYTES = 1 << 20


class Poison:
    """Chunks by alias and the hash of their samples, for `REMEMBERED_S` after they were added.

    What is too much for one model may be easy for another.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s: dict[tuple[str, str], float] = {}

    async def add(self, alias: str, chunk: Chunk) -> None:
        """Remember `chunk`."""
        samples = await asyncio.to_thread(_hash, chunk)
        self._until_s[alias, samples] = self._clock() + REMEMBERED_S

    async def holds(self, alias: str, chunk: Chunk) -> bool:
        """Return whether these samples were added not long ago. Free while nothing is."""
        now_s = self._clock()
        self._until_s = {key: until for key, until in self._until_s.items() if until > now_s}
        if not any(name == alias for name, _ in self._until_s):
            return False
        samples = await asyncio.to_thread(_hash, chunk)
        return (alias, samples) in self._until_s


def _hash(chunk: Chunk) -> str:
    """Read in pieces: a chunk is the whole file where nobody looks for speech."""
    digest, left = hashlib.sha256(), (chunk.end - chunk.start) * BYTES_PER_SAMPLE
    with chunk.path.open("rb") as file:
        file.seek(chunk.start * BYTES_PER_SAMPLE)
        while left > 0 and (piece := file.read(min(left, READ_BYTES))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
