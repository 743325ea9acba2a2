"""structlog set-up. Transcript text, audio and keys are never logged."""

import logging
import sys
from enum import StrEnum

import structlog


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def configure_logging(*, level: str, style: LogFormat) -> None:
    """Send events to stderr, one line each, with the fields bound in the context (request_id)."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=28,
            # The default one prints local variables: transcripts, keys, paths of uploads.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    # It would warn of subprotocols, in which a browser's key may be.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if style is LogFormat.JSON:
        shared.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
