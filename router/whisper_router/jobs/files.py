"""The directory that holds what jobs need: their store and their audio. One process owns it."""

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from whisper_router.audio.spool import Spool
from whisper_router.errors import ConfigurationError


class JobFiles:
    """A locked directory, mode 0700. Its methods touch the disk."""

    def __init__(self, directory: Path, lock: int) -> None:
        self._lock = lock
        self.store = directory / "jobs.db"
        """The store's file."""
        self.spool = Spool(directory / "audio", -1)
        """Where audio arrives and stays."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Make the directory if need be, and lock it.

        Raises:
            ConfigurationError: it cannot be used, or another process uses it.
        """
        try:
            (directory / "audio").mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"the jobs' directory cannot be used: {error}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise ConfigurationError(
                f"another server keeps its jobs in {directory} (jobs.directory)"
            ) from error
        return cls(directory, lock)

    def adopt(self, path: Path, job_id: str) -> Path:
        """Move a file here under its job's id, with the same suffix; return where it is."""
        target = self.spool.directory / f"{job_id}{path.suffix}"
        shutil.move(path, target)
        return target

    def audio(self) -> Sequence[Path]:
        """Return all files with audio, whole or not."""
        return [path for path in self.spool.directory.iterdir() if path.is_file()]

    def erase(self, job_id: str) -> None:
        """Delete the audio of a job, also what was left when fetching it was cut short."""
        for path in self.audio():
            if path.stem == job_id:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the directory; what is in it stays."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
