"""Logging set-up: ours and that of libraries. Transcript text, audio and keys are never logged.

What we log is written so that it holds none of them. Two fences stand behind that: what looks like
a key is masked in every line, and libraries are heard from `warning` on, whatever the level: what
they tell below that are queries, addresses and headers in full.
"""

import io
import logging
import os
import re
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from whisper_router.append_file import AppendFile, UnwrittenError
from whisper_router.errors import ConfigurationError
from whisper_router.log_outlet import Outlet

MASK = "***"
JOURNAL = "JOURNAL_STREAM"
"""The variable in which systemd says which file stderr is when it goes to the journal."""

_KEY = re.compile(
    r"(?P<scheme>\b(?:bearer|basic)[ +=:]+)(?=\S*[0-9._~+/=-])[\w.~+/=-]{6,}"
    # Keys of ours, of OpenAI, of a browser's session; secrets of webhooks; tokens of the hub, but
    # not its variables (HF_HUB_OFFLINE), nor files that are called wr-something.
    r"|(?<![A-Za-z0-9])(?P<prefix>wr-(?=[\w-]{32})|sk-|ek_|whsec_|hf_(?=[A-Za-z0-9]{9}))(?!\*)[A-Za-z0-9+/_-]{9,}=*",
    re.IGNORECASE,
)


_VALIDATED = re.compile(r"input_value=.*(?=, input_type=\w+\]$)", re.MULTILINE)
"""What pydantic quotes, as `repr` of it: on one line."""


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


def chosen_format(style: LogFormat, stream: TextIO, environment: Mapping[str, str]) -> LogFormat:
    """Return `text` or `json`: what `auto` means for lines that go to `stream`.

    People read a terminal, and the journal, which has the time, the unit and the level's place of
    its own; anything else (a container's pipe, a file) is collected by a program.
    """
    if style is not LogFormat.AUTO:
        return style
    is_read = stream.isatty() or _is_journal(stream, environment.get(JOURNAL, ""))
    return LogFormat.TEXT if is_read else LogFormat.JSON


class LogFile(io.TextIOBase):
    """The log as a file; where it was moved away, the next line goes to a new one."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError: it cannot be written."""
        try:
            self._file = AppendFile(path.expanduser())
        except OSError as error:
            raise ConfigurationError(
                f"server.log_file: {path} cannot be written: {error.strerror}"
            ) from error
        self._turn = threading.Lock()

    def write(self, text: str) -> int:
        """Append lines. Raises OSError."""
        with self._turn:
            try:
                self._file.write(text.encode(errors="backslashreplace"))
            except UnwrittenError as error:
                raise error.cause from error
        return len(text)


def configure_logging(*, level: str, style: LogFormat, file: Path | None = None) -> None:
    """Send events to stderr, one line each, with the fields bound in the context (request_id).

    So do libraries that log through `logging`, and Python's warnings. `file`: to that instead.

    Raises:
        ConfigurationError: it cannot be written.
    """
    stream = sys.stderr if file is None else cast(TextIO, LogFile(file))
    style = chosen_format(style, stream, os.environ)
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        with_traceback,
        mask_keys,
        _renderer(style, has_colors=stream.isatty()),
    ]
    outlet = Outlet(stream)
    writer = _Lines(outlet)
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    _listen_to_libraries(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        ),
        outlet,
        least=max(least, logging.WARNING),
    )


def with_traceback(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Put the traceback into the event, without local variables (a structlog processor).

    That one cannot be formatted must end nothing: an error may have attributes that fail, and
    Python 3.11 may fail by itself where two threads format one at a time (python/cpython#106905).
    """
    try:
        return structlog.processors.format_exc_info(logger, method, event)
    except Exception as error:  # noqa: BLE001 - whatever fails there
        event.pop("exc_info", None)
        event["exception"] = f"a traceback that cannot be formatted: {type(error).__name__}"
        return event


def mask_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put `***` in the place of what looks like a key, in every field (a structlog processor).

    And of what was validated in the traceback of a validation: text, or a prompt.
    """
    for name, value in event.items():
        if type(value) not in _PLAIN:
            event[name] = _masked(value)
    if isinstance(trace := event.get("exception"), str):
        event["exception"] = _VALIDATED.sub(f"input_value={MASK}", trace)
    return event


def masked(text: str) -> str:
    """Return `text` with `***` in the place of what looks like a key."""
    return _KEY.sub(lambda found: f"{found['scheme'] or found['prefix']}{MASK}", text)


log = structlog.get_logger(__name__)
_PLAIN = frozenset({int, float, bool, type(None)})


def _masked(value: object) -> object:
    """Return the value; what is neither text nor a list nor a table becomes its `repr`."""
    if isinstance(value, str):
        return masked(value)
    if type(value) in _PLAIN:
        return value
    if isinstance(value, os.PathLike):
        return masked(str(value))
    if isinstance(value, Mapping):
        return {masked(str(name)): _masked(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item) for item in value]
    return masked(repr(value))


class _Lines:
    """The logger behind structlog's: writes a line, and how many were lost before it."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet

    def msg(self, message: str) -> None:
        """Write the line, or lose it."""
        if self._outlet.write(message + "\n") and (lost := self._outlet.take_lost()):
            log.warning("log_lines_lost", count=lost)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def _renderer(style: LogFormat, *, has_colors: bool) -> Processor:
    if style is LogFormat.JSON:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=has_colors,
        pad_event_to=28,
        # The default one prints local variables: transcripts, keys, paths of uploads.
        exception_formatter=structlog.dev.plain_traceback,
    )


def _listen_to_libraries(formatter: logging.Formatter, outlet: Outlet, *, least: int) -> None:
    handler = logging.StreamHandler(outlet)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)  # ours, of an earlier call
    root.addHandler(handler)
    root.setLevel(least)
    # It would warn of subprotocols, in which a browser's key may be.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def _is_journal(stream: TextIO, named: str) -> bool:
    """Tell whether `stream` is the file that systemd named as `device:inode` (systemd.exec(5))."""
    with suppress(OSError, ValueError):
        status = os.fstat(stream.fileno())
        return named == f"{status.st_dev}:{status.st_ino}"
    return False
