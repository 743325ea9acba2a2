"""The audit's file: a line of JSON for each request, appended off the event loop."""

import json
import os
import queue
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from whisper_router.errors import ConfigurationError
from whisper_router.logs import masked

MOST_WAITING = 10_000
"""Lines that may wait for a disk that does not write; more are counted, and lost."""

log = structlog.get_logger(__name__)


class AuditLog:
    """Appends to a file, which is made readable for its owner alone.

    A thread of its own writes what has come, all at once. Whoever moves the file away (logrotate)
    finds what comes then in a new one.
    """

    def __init__(self, path: Path) -> None:
        """Blocking. Raises ConfigurationError: the file cannot be written."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _opened(path)
        except OSError as error:
            raise ConfigurationError(f"audit.file: {path} cannot be written: {error}") from error
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._lost, self._has_failed = 0, False
        self._is_torn = False
        """Whether the file may end within a line."""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def write(self, fields: Mapping[str, Any]) -> None:
        """Append a line with the time and these fields, soon. Never blocks, never raises.

        What looks like a key is masked: clients choose request ids as they like.
        """
        if self._lines.qsize() >= MOST_WAITING:
            self._lost += 1
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **fields}, ensure_ascii=True, default=str)
        self._lines.put_nowait(masked(line).encode() + b"\n")

    def close(self) -> None:
        """Write what has come, and close the file. Blocking."""
        self._lines.put(None)
        self._thread.join()
        os.close(self._file)

    def _run(self) -> None:
        is_open = True
        while is_open:
            lines = [self._lines.get()]
            while not self._lines.empty():
                lines.append(self._lines.get_nowait())
            is_open = None not in lines
            self._append(b"".join(line for line in lines if line is not None))

    def _append(self, data: bytes) -> None:
        try:
            if self._is_moved():
                before, self._file = self._file, _opened(self._path)
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
            self._lost += data.count(b"\n")  # also the line that has begun
            if not self._has_failed:
                log.warning("audit_not_written", path=str(self._path), reason=error.strerror)
            self._has_failed = True
            return
        if self._has_failed or self._lost:
            log.warning("audit_written_again", lost=self._lost)
        self._has_failed, self._lost = False, 0

    def _is_moved(self) -> bool:
        ours = os.fstat(self._file)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
