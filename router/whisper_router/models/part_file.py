"""An incomplete model file on disk. Blocking: it belongs to the download program."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from whisper_router.errors import ModelUnavailable, RouterError, StorageFull

BLOCK_BYTES = 4 * 2**20
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class PartFile:
    """Grows at its end and becomes `target` at once when it is complete."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        self._fd = -1

    @property
    def size_bytes(self) -> int:
        """How much is there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def open(self, *, keep_bytes: int) -> None:
        """Open for writing after the first `keep_bytes`; what lies behind them is dropped."""
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if self.size_bytes != keep_bytes:
                os.ftruncate(self._fd, keep_bytes)
            os.lseek(self._fd, keep_bytes, os.SEEK_SET)
        except OSError as error:
            raise disk_error(error, self._target.parent) from error

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            StorageFull: the disk is; the incomplete file is deleted, for others need room too.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            if error.errno in NO_ROOM:
                self.discard()
            raise disk_error(error, self._target.parent) from error

    def close(self) -> None:
        """Close; what was written stays for a later attempt."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Close and delete."""
        self.close()
        self.path.unlink(missing_ok=True)

    def digests(self, *, on_block: Callable[[], None]) -> tuple[str, str]:
        """Return the SHA-256 and SHA-1 of the file. `on_block` is called every few MiB."""
        sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        with self.path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                sha256.update(block)
                sha1.update(block)
                on_block()
        return sha256.hexdigest(), sha1.hexdigest()

    def publish(self) -> None:
        """Give the file its name, after its bytes are safely on the disk."""
        try:
            with self.path.open("rb") as file:
                os.fsync(file.fileno())
            self.path.replace(self._target)
        except OSError as error:
            raise disk_error(error, self._target.parent) from error


def check_room(directory: Path, *, needed_bytes: int, min_free_bytes: int) -> None:
    """Raise StorageFull unless `needed_bytes` fit and `min_free_bytes` are left."""
    free = shutil.disk_usage(directory).free
    if needed_bytes + min_free_bytes > free:
        raise StorageFull(
            f"The model needs {needed_bytes} more bytes in {directory}: {free} bytes are free, and "
            f"{min_free_bytes} of them must stay so"
        )


def disk_error(error: OSError, directory: Path) -> RouterError:
    """Return what a failed file operation in `directory` means to the user."""
    if error.errno in NO_ROOM:
        return StorageFull(f"There is no room for the model in {directory}: {error.strerror}")
    return ModelUnavailable(
        f"The model file cannot be written or deleted in {directory}: {error.strerror}"
    )
