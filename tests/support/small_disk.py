"""A file system of a few MiB, so that it can be full without harm to anybody else."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

MOUNT_S = 10.0
BLOCK_BYTES = 1 << 16


@contextlib.contextmanager
def small_disk(directory: Path, *, size_mib: int) -> Iterator[bool]:
    """Mount a tmpfs on `directory` while the block runs; False where that is not allowed."""
    directory.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", "tmpfs", str(directory)]
    try:
        mounted = subprocess.run(command, stderr=subprocess.DEVNULL, timeout=MOUNT_S, check=False)
        is_mounted = mounted.returncode == 0
    except OSError:  # no such program
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(directory)], timeout=MOUNT_S, check=True)


@contextlib.contextmanager
def filled(directory: Path) -> Iterator[Callable[[], None]]:
    """Leave no room on the disk that `directory` is on; what is yielded takes what was freed."""
    path = directory / "filling"
    try:
        with path.open("wb", buffering=0) as file:
            fill = partial(_fill, file.fileno())
            fill()
            yield fill
    finally:
        path.unlink(missing_ok=True)


def _fill(descriptor: int) -> None:
    block = bytes(BLOCK_BYTES)
    while block:
        try:
            os.write(descriptor, block)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            block = block[: len(block) // 2]
