"""What a worker prints of its work: whose chunk it runs, so that its other lines can be placed."""

import os
import re
import time
from contextlib import suppress

from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router_engines.whispercpp.protocol import Order

STDERR = 2
_UNUSUAL = re.compile(r"[^A-Za-z0-9._-]")


class Notes:
    """The lines about one chunk. None holds anything of what is said in it."""

    def __init__(self) -> None:
        self._about, self._began_s = "", 0.0

    def began(self, order: Order) -> None:
        """Say that the chunk is begun: the last such line of a worker that dies says of what."""
        request = _UNUSUAL.sub("?", order.request_id)[:128] or "-"
        start_s, end_s = order.start / SAMPLE_RATE_HZ, order.end / SAMPLE_RATE_HZ
        self._about = f"request_id={request} worker={os.getpid()} chunk={start_s:.2f}-{end_s:.2f}s"
        self._began_s = time.monotonic()
        _print(f"{self._about} begun")

    def ended(self, how: str) -> None:
        """Say how it ended; nothing if it was not begun."""
        if self._about:
            _print(f"{self._about} {how} after {time.monotonic() - self._began_s:.3f} s")

    def failed(self, error: Exception) -> None:
        """Say that it failed, and have whoever reports `error` say of what."""
        self.ended("failed")
        error.add_note(self._about)


def described(error: BaseException) -> str:
    """Return the error with what it is about."""
    notes = (note for note in getattr(error, "__notes__", ()) if note)
    return " ".join([repr(error), *notes])


def _print(line: str) -> None:
    with suppress(OSError):  # whoever read it is gone, and so will this process be
        os.write(STDERR, f"{line}\n".encode())  # in one piece: workers share the pipe
