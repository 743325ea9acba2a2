"""A private place on disk for uploads and decoded audio, emptied when the process is gone."""

import fcntl
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import structlog

from whisper_router.errors import ConfigurationError

log = structlog.get_logger(__name__)

_RUN_NAME = re.compile(r"run-(\d+)-(\d+)")
_PS_TIMEOUT_S = 5.0


class Spool:
    """One directory of this process, mode 0700. Its methods touch the disk: `new_path` does not.

    The directory is locked while it lives, so that another process never takes it for a leftover,
    not even one that cannot see our process id (a container that shares the disk).
    """

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self._lock = lock

    @classmethod
    def create(cls, root: Path) -> Self:
        """Return a fresh spool under `root`; remove what processes that are gone left there.

        Raises:
            ConfigurationError: `root` belongs to somebody else, or cannot be made or written.
        """
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(root)
            _sweep(root)
            return cls(*_own_directory(root))
        except OSError as error:
            raise ConfigurationError(f"the spool directory cannot be used: {error}") from error

    def new_path(self, suffix: str = "") -> Path:
        """Return a name that no other file here has. Nothing is created."""
        return self.directory / (secrets.token_hex(12) + suffix)

    def free_bytes(self) -> int:
        """Return how much more fits."""
        return shutil.disk_usage(self.directory).free

    def close(self) -> None:
        """Remove the directory and all in it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SpoolFile:
    """A file that one thread at a time writes; `discard` in any thread ends that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = 0
        self._lock = threading.Lock()
        self._discarded = False
        self._file: BinaryIO | None = None

    def write(self, data: bytearray) -> None:
        """Append `data`; an empty one makes an empty file. Nothing happens after `discard`."""
        with self._lock:
            if self._discarded:
                return
            if self._file is None:
                self._file = self.path.open("wb", buffering=0)
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                view = view[written:]
                self.size_bytes += written

    def keep(self) -> None:
        """Close the file and leave it where it is; it is no longer ours to write or delete."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                self._file.close()
                self._file = None

    def discard(self) -> None:
        """Close and delete the file."""
        with self._lock:
            self._discarded = True
            if self._file is not None:
                self._file.close()
                self.path.unlink(missing_ok=True)


def process_start_time(pid: int) -> int | None:
    """Return a number that tells this process from a later one of the same id; None: no process.

    Linux: field 22 of /proc/PID/stat (clock ticks after boot, proc(5)); elsewhere what `ps` says.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None if Path("/proc/self/stat").exists() else _ps_start_time(pid)
    return int(stat.rpartition(")")[2].split()[19])  # the name before it may hold spaces


def _ps_start_time(pid: int) -> int | None:
    shown = subprocess.run(
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        check=False,
        env={"LC_ALL": "C", "TZ": "UTC"},
        text=True,
        timeout=_PS_TIMEOUT_S,
    ).stdout.strip()
    return int(time.mktime(time.strptime(shown, "%a %b %d %H:%M:%S %Y"))) if shown else None


def _check_owner(root: Path) -> None:
    status = root.stat()
    if status.st_uid != os.geteuid():
        raise ConfigurationError(f"the spool directory {root} belongs to user {status.st_uid}")


def _own_directory(root: Path) -> tuple[Path, int]:
    pid = os.getpid()
    stem = f"run-{pid}-{process_start_time(pid) or 0}"
    for number in range(1000):
        directory = root / (f"{stem}-{number}" if number else stem)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:  # a second spool of this very process
            continue
        lock = _try_lock(directory)
        if lock is not None:
            return directory, lock
    raise ConfigurationError(f"no free name for a spool directory under {root}")


def _sweep(root: Path) -> None:
    for entry in root.iterdir():
        found = _RUN_NAME.match(entry.name)
        if found is None or entry.is_symlink() or not entry.is_dir() or _alive(found):
            continue
        lock = _try_lock(entry)
        if lock is not None:
            log.info("spool_swept", directory=entry.name)
            shutil.rmtree(entry, ignore_errors=True)
            os.close(lock)


def _alive(found: re.Match[str]) -> bool:
    return process_start_time(int(found[1])) == int(found[2])


def _try_lock(directory: Path) -> int | None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
