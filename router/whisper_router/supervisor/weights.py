"""The model file of a loaded process: is it still the one on disk?"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SETTLE_S: Final = 1.0
"""A file that did not change for so long is not being written any more."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells a file from one that took its place, without reading it."""

    size: int
    mtime_ns: int
    inode: int


def fingerprint(path: Path) -> Fingerprint | None:
    """Return the file's; None when there is no such file. Blocks."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Fingerprint(found.st_size, found.st_mtime_ns, found.st_ino)


class Weights:
    """What one process has loaded, and what became of the file since.

    A file that is gone is none that was replaced: what is loaded serves on.
    """

    def __init__(self, *, settle_s: float = SETTLE_S) -> None:
        self.is_replaced = self.is_gone = False
        self._settle_s = settle_s
        self._path: Path | None = None
        self._loaded: Fingerprint | None = None
        self._is_looking = False

    async def note(self, path: Path) -> None:
        """Take note that the file is about to be loaded."""
        self._path, self._loaded = path, await asyncio.to_thread(fingerprint, path)
        self.is_replaced = self.is_gone = False

    async def are_there(self) -> bool:
        """Return whether they could be loaded again."""
        if self._path is not None:
            self.is_gone = await asyncio.to_thread(fingerprint, self._path) is None
        return not self.is_gone

    async def look(self) -> None:
        """Find out what became of the file; one that is being written is waited for."""
        if self._path is None or self._is_looking:
            return
        self._is_looking = True
        try:
            await self._compare(self._path, self._loaded)
        finally:
            self._is_looking = False

    async def _compare(self, path: Path, loaded: Fingerprint | None) -> None:
        found = await asyncio.to_thread(fingerprint, path)
        while found not in (None, loaded):
            await asyncio.sleep(self._settle_s)
            before, found = found, await asyncio.to_thread(fingerprint, path)
            if found == before:
                break
        if self._loaded is loaded:  # nothing else was loaded meanwhile
            self.is_gone = found is None
            self.is_replaced = found not in (None, loaded)
