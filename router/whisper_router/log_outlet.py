"""Where log lines go, and nobody waits for whoever reads them.

A terminal can be halted (Ctrl-S), a pager scrolled up, a collector hang: then a write waits for
ever, and with it all that the event loop does. So lines are lost instead, and counted.
"""

import os
import select
import threading
from typing import TextIO

PIECE_BYTES = select.PIPE_BUF
"""What can be written at a time without waiting, where there is room at all (POSIX)."""
PATIENCE_S = 0.2
"""How long is waited for a reader, who may only be slow; not again until it has read."""


class Outlet:
    """Writes whole lines to a stream, or loses them: disk full, nobody reads, reader gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()  # whatever is called meanwhile may have to say something
        self._lost = 0
        self._is_stuck = self._is_torn = False

    def write(self, text: str) -> int:
        """Write lines with their ends; return how many characters that was, 0: they are lost."""
        with self._lock:
            try:
                is_written = self._write(text)
            except (OSError, ValueError):  # a closed stream is a ValueError
                is_written = False
            self._lost += not is_written
        return len(text) if is_written else 0

    def flush(self) -> None:
        """Do nothing: what is written is written."""

    def take_lost(self) -> int:
        """Return how many were lost since this was asked last."""
        with self._lock:
            lost, self._lost = self._lost, 0
        return lost

    def _write(self, text: str) -> bool:
        descriptor = self._descriptor()
        if descriptor is None:  # a file of Python's own, such as a test's
            self._stream.write(text)
            self._stream.flush()
            return True
        data = text.encode(errors="backslashreplace")
        if self._is_torn:
            data = b"\n" + data
        while data:
            if not self._has_room(descriptor):
                return False
            written = os.write(descriptor, data[:PIECE_BYTES])
            self._is_torn = data[written - 1 : written] != b"\n"
            data = data[written:]
        return True

    def _descriptor(self) -> int | None:
        try:
            return self._stream.fileno()
        except OSError:  # io.UnsupportedOperation
            return None

    def _has_room(self, descriptor: int) -> bool:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        wait_ms = 0 if self._is_stuck else PATIENCE_S * 1000
        self._is_stuck = not poll.poll(wait_ms)
        return not self._is_stuck
