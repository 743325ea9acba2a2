"""The audit's file: a line of JSON for each request, appended off the event loop."""

import json
import queue
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from whisper_router.append_file import AppendFile, UnwrittenError
from whisper_router.errors import ConfigurationError
from whisper_router.logs import masked

MOST_WAITING = 10_000
"""Lines that may wait for a disk that does not write; more are counted, and lost."""

log = structlog.get_logger(__name__)


class AuditLog:
    """Appends to a file. A thread of its own writes what has come, all at once."""

    def __init__(self, path: Path) -> None:
        """Blocking. Raises ConfigurationError: the file cannot be written."""
        try:
            self._file = AppendFile(path)
        except OSError as error:
            raise ConfigurationError(f"audit.file: {path} cannot be written: {error}") from error
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._lost, self._has_failed = 0, False
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
        self._file.close()

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
            self._file.write(data)
        except UnwrittenError as error:
            self._lost += error.lines
            if not self._has_failed:
                reason = error.cause.strerror
                log.warning("audit_not_written", path=str(self._file.path), reason=reason)
            self._has_failed = True
            return
        if self._has_failed or self._lost:
            log.warning("audit_written_again", lost=self._lost)
        self._has_failed, self._lost = False, 0
