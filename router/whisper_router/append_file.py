"""A file that grows by lines and that others may move away: the audit's, and the log's."""

import os
from pathlib import Path


class UnwrittenError(Exception):
    """What was to be appended was not, or only some of it; `lines` are missing or cut short."""

    def __init__(self, cause: OSError, lines: int) -> None:
        super().__init__(str(cause))
        self.cause, self.lines = cause, lines


class AppendFile:
    """Appends to a file, which is made readable for its owner alone. Blocking, for one thread.

    Whoever moves the file away (logrotate, newsyslog) finds what comes then in a new one.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError: the file cannot be made or written."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._file = path, _opened(path)
        self._is_torn = False
        """Whether the file may end within a line."""

    def write(self, data: bytes) -> None:
        """Append whole lines. Raises UnwrittenError."""
        try:
            if self._is_moved():
                before, self._file = self._file, _opened(self.path)
                os.close(before)
                self._is_torn = False
            if self._is_torn:
                os.write(self._file, b"\n")
                self._is_torn = False
            while data:
                written = os.write(self._file, data)
                self._is_torn = data[written - 1 : written] != b"\n"
                data = data[written:]
        except OSError as error:
            raise UnwrittenError(
                error, data.count(b"\n")
            ) from error  # also the line that has begun

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _is_moved(self) -> bool:
        ours = os.fstat(self._file)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
