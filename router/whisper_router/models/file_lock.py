"""A lock on a file name between processes. The kernel drops it with its holder: it never is stale.

It does not hold between machines on file systems without `flock`; there two of them may fetch a
file twice, and the last one to finish wins, with a verified file either way.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whisper_router.models.part_file import disk_error


@contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """Open the lock file `path` for `try_lock`; closing it gives the lock back."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    try:
        yield fd
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Return whether the lock is ours now; False: another process has it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
