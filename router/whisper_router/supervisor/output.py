"""What engine programs print: always read, kept for a while, never in the way."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Final

READ_BYTES: Final = 64 * 1024  # the default capacity of a Linux pipe: one read empties it
ERROR_PREFIX: Final = "error: "
CUT_MARK: Final = " …"
FOLLOW_PAUSE_S: Final = 0.2


class OutputRing:
    """The last lines of a program, each cut to a length. Memory is bounded whatever it prints."""

    def __init__(self, *, lines: int, line_bytes: int) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._line_bytes = line_bytes
        self._error: str | None = None
        self.received_bytes = 0
        self.appended = 0
        """How many lines came in all."""

    def splitter(self) -> "LineSplitter":
        """Return a new way in, for one stream: streams are not mixed within a line."""
        return LineSplitter(self, limit_bytes=self._line_bytes)

    def append(self, line: str) -> None:
        """Add one line, dropping the oldest when full."""
        self._lines.append(line)
        self.appended += 1
        if line.startswith(ERROR_PREFIX):
            self._error = line.removeprefix(ERROR_PREFIX).strip()

    def tail(self, count: int) -> list[str]:
        """Return the last `count` lines, oldest first."""
        return list(self._lines)[-count:] if count > 0 else []

    def since(self, appended: int) -> list[str]:
        """Return what came after so many lines, as far as it is still kept."""
        return self.tail(self.appended - appended)

    def forget_error(self) -> None:
        """Take what went wrong so far for repaired; the lines stay."""
        self._error = None

    @property
    def error(self) -> str | None:
        """What the last line that began with `error: ` said, unless it was forgotten."""
        return self._error


class LineSplitter:
    """Cuts a stream of bytes into lines. A carriage return ends a line too: progress bars."""

    def __init__(self, ring: OutputRing, *, limit_bytes: int) -> None:
        self._ring, self._limit_bytes = ring, limit_bytes
        self._partial = bytearray()
        self._is_cut = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._ring.received_bytes += len(data)
        *whole, rest = data.replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            self._extend(line)
            self.flush()
        self._extend(rest)

    def flush(self) -> None:
        """End the current line, as at end of file."""
        if self._partial:
            text = self._partial.decode(errors="replace")
            self._ring.append(text + CUT_MARK if self._is_cut else text)
        self._partial.clear()
        self._is_cut = False

    def _extend(self, data: bytes) -> None:
        room = self._limit_bytes - len(self._partial)
        self._partial += data[:room]
        self._is_cut = self._is_cut or len(data) > room


class Drain:
    """Reads one pipe from the event loop until its end of file. Owns the descriptor."""

    def __init__(self, fd: int, splitter: LineSplitter) -> None:
        self._fd, self._splitter = fd, splitter
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        os.set_blocking(fd, False)
        self._loop.add_reader(fd, self._read)

    async def finish(self, *, timeout_s: float) -> None:
        """Wait for end of file, but not longer: a grandchild may hold the pipe open for ever."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ended.wait()
        except TimeoutError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading now."""
        if not self._ended.is_set():
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._splitter.flush()
            self._ended.set()

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._splitter.feed(data)
        else:
            self.close()


async def follow(
    rings: Callable[[], Iterable[OutputRing]], lines: int
) -> AsyncGenerator[list[str], None]:
    """Yield the last lines of each ring, then those that come, in batches; some are empty.

    `rings` is asked again each time: programs that are started later are heard as well.
    """
    seen = {ring: ring.appended for ring in rings()}
    yield [line for ring in seen for line in ring.tail(lines)]
    while True:
        await asyncio.sleep(FOLLOW_PAUSE_S)
        known = dict.fromkeys([*seen, *rings()])  # what one has printed last before it was replaced
        yield [line for ring in known for line in ring.since(seen.get(ring, 0))]
        seen = {ring: ring.appended for ring in known if ring in set(rings())}
