"""What is said about a collector of traces that takes none: a line now and then, not one per try.

OpenTelemetry's exporter logs every attempt, which with a collector that is down is some lines every
five seconds for as long as requests come.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog

TELL_EVERY_S: Final = 600.0
"""How often it is said, at most, that spans cannot be sent."""
LIBRARY: Final = "opentelemetry"

log = structlog.get_logger(__name__)


class Heard(logging.Handler):
    """The first thing that OpenTelemetry has logged since this was asked last."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message: what comes first is the cause of the rest."""
        if self._first is None:
            self._first = record.getMessage()

    def take(self) -> str | None:
        """Return it, and forget it."""
        first, self._first = self._first, None
        return first


class TellingExporter:
    """Exports spans, and tells when that has begun to fail and when it has become well again.

    A failure is told at most every `TELL_EVERY_S`. Called by one thread.
    """

    def __init__(
        self, exporter: Any, heard: Heard, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._exporter, self._heard, self._clock = exporter, heard, clock
        self._lost = 0
        self._told_s: float | None = None
        self._is_told = False

    def export(self, spans: Sequence[Any]) -> Any:
        """Send them; return what the exporter returns."""
        self._heard.take()
        result = self._exporter.export(spans)
        if result.name == "SUCCESS":
            self._note_success()
        else:
            self._note_failure(len(spans))
        return result

    def shutdown(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether all was sent in time."""
        return bool(self._exporter.force_flush(timeout_millis))

    def _note_failure(self, count: int) -> None:
        self._lost += count
        now_s = self._clock()
        if self._told_s is None or now_s - self._told_s >= TELL_EVERY_S:
            self._told_s, self._is_told = now_s, True
            log.warning("spans_not_exported", lost=self._lost, reason=self._heard.take())

    def _note_success(self) -> None:
        if self._is_told:
            log.info("spans_exported_again", lost=self._lost)
            self._lost, self._is_told = 0, False


@contextmanager
def listening() -> Iterator[Heard]:
    """Have what OpenTelemetry logs heard here, and not in the log, until the block ends."""
    library, heard = logging.getLogger(LIBRARY), Heard()
    library.addHandler(heard)
    before, library.propagate = library.propagate, False
    try:
        yield heard
    finally:
        library.propagate = before
        library.removeHandler(heard)
