"""How workers ended: the keeper of the workers writes it down, the plugin in the router reads it.

Only the parent of a process learns how it ended. Both sides import this module, so it imports
nothing heavy.
"""

import json
import signal
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

KEPT: Final = 64


class Ends:
    """The last ends of a keeper's workers, in a file beside its socket.

    The file is there, empty, before any worker serves: who finds none knows that there is no
    keeper, or none any more. A disk that is full costs the knowledge, not the keeper.
    """

    def __init__(self, socket: Path) -> None:
        self._path = ends_path(socket)
        self._ends: deque[tuple[int, int, float]] = deque(maxlen=KEPT)
        self._write()

    def add(self, pid: int, code: int) -> None:
        """Write down that worker `pid` has ended with `code` (negative for a signal)."""
        self._ends.append((pid, code, time.monotonic()))
        self._write()

    def _write(self) -> None:
        draft = self._path.with_suffix(".ends-new")
        with suppress(OSError):
            draft.write_text(json.dumps(list(self._ends)))
            draft.replace(self._path)


def ends_path(socket: Path) -> Path:
    """Return where the ends of the workers behind `socket` are written."""
    return socket.with_suffix(".ends")


def find_end(pid: int, socket: Path, *, since_s: float) -> int | None:
    """Return the exit code of a worker that has ended at `since_s` (monotonic) or later.

    None: it is not known to have ended. Blocks for a moment.

    Raises:
        OSError: there is no keeper, or none any more.
    """
    for number, code, at_s in reversed(json.loads(ends_path(socket).read_bytes())):
        if number == pid and at_s >= since_s:  # another process may have had this pid before
            return int(code)
    return None


def describe_end(code: int) -> str:
    """Return `signal SIGSEGV` or `exit code 70`."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"
