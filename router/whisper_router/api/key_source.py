"""Where the key ring comes from: fixed at start, or a file that may change while we run."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import structlog

from whisper_router.api.key_file import load_keys
from whisper_router.api.keys import Key, KeyRing, plain_keys
from whisper_router.errors import ConfigurationError
from whisper_router.tasks import Tasks

RECHECK_S = 1.0

log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """Gives the keys that count now."""

    async def ring(self) -> KeyRing:
        """Return the current ring. Never raises."""
        ...


class FixedKeys:
    """Keys given in plain text at start; without any, everybody may call."""

    def __init__(self, values: Sequence[str]) -> None:
        self._ring = KeyRing(plain_keys(values), required=bool(values))

    async def ring(self) -> KeyRing:
        """Return the ring."""
        return self._ring


class KeyFile:
    """Keys of a file, read again when it changed, besides keys given in plain text.

    Looked at no more than once per `recheck_s`, and in a thread; nobody gets keys that are older
    than that. A file that became unreadable or wrong changes nothing: the last good keys go on
    counting, the log says so once, and `rejected` why (None: the file's keys count).
    """

    def __init__(
        self, path: Path, *, plain: Sequence[str] = (), recheck_s: float = RECHECK_S
    ) -> None:
        """Read the file. Blocking.

        Raises:
            ConfigurationError: it cannot be used.
        """
        self._path, self._recheck_s = path, recheck_s
        self._plain = tuple(plain_keys(plain))
        self._version = _version(path)
        self._ring = self._with_plain(load_keys(path))
        self._next_look_s = time.monotonic() + recheck_s
        self.rejected: str | None = None
        self._reading = threading.Lock()
        self._tasks = Tasks()
        self._looking: asyncio.Task[None] | None = None

    async def ring(self) -> KeyRing:
        """Return the current ring."""
        if time.monotonic() >= self._next_look_s:
            if self._looking is None:
                self._looking = self._tasks.spawn(self._look_again(), name="look at keys")
            await asyncio.shield(self._looking)  # others wait for it, too: after a quiet night
        return self._ring

    async def _look_again(self) -> None:
        began_s = time.monotonic()
        try:
            await asyncio.to_thread(self.look)
        finally:
            self._next_look_s = began_s + self._recheck_s
            self._looking = None

    def look(self) -> str | None:
        """Read the file if it has changed; return why the keys of before go on. Blocking.

        What was rejected is tried again: that it may be read now changes nothing in the file.
        """
        with self._reading:
            version = _version(self._path)
            if version != self._version or self.rejected is not None:
                self._version = version
                self._read()
            return self.rejected

    def _read(self) -> None:
        try:
            self._ring = self._with_plain(load_keys(self._path))
        except ConfigurationError as error:
            if str(error) != self.rejected:
                log.error("key_file_rejected", reason=str(error))  # noqa: TRY400
            self.rejected = str(error)
        else:
            self.rejected = None
            log.info("key_file_read", path=str(self._path), keys=len(self._ring.keys))

    def _with_plain(self, keys: Sequence[Key]) -> KeyRing:
        return KeyRing((*self._plain, *keys), required=True)


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what changes with the content; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
