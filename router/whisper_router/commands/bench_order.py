"""What `whisper-router bench` is asked for, and how to write it on a command line."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from whisper_router.errors import ConfigurationError
from whisper_router.section import is_web_address

KEY_VARIABLES = ("WHISPER_ROUTER_KEY", "OPENAI_API_KEY", "API_KEY")
FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
STREAMED_FORMATS = ("json", "text")
DEFAULT_REQUESTS = 20
LONGEST_S = 86_400.0
PATH = "/audio/transcriptions"

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOrder:
    """What to send, where, and how much of it.

    `certificate` is the server's own, which no authority needs to vouch for and which may be for
    another of its names; None: whatever is at `url` is checked as usual.
    `files` empty: bundled recordings, joined to `seconds` if that is set. Each number in
    `concurrency` is a row of the table, of so many `requests` or, if that is set, of so many
    seconds (`duration_s`). `warmup` requests come first and are not counted.
    """

    url: str
    certificate: Path | None
    api_key: str | None
    model: str
    files: tuple[Path, ...]
    seconds: float | None
    concurrency: tuple[int, ...]
    requests: int
    duration_s: float | None
    response_format: str
    language: str | None
    stream: bool
    warmup: int
    timeout_s: float
    as_json: bool

    @property
    def address(self) -> str:
        """Return where transcriptions are asked for; the URL may end with `/v1`, or be this one."""
        base = self.url.rstrip("/").removesuffix(PATH)
        return f"{base if base.endswith('/v1') else base + '/v1'}{PATH}"

    @property
    def fields(self) -> Mapping[str, str]:
        """Return the text fields of each request."""
        asked = {"model": self.model, "response_format": self.response_format}
        if self.language:
            asked["language"] = self.language
        if self.stream:
            asked["stream"] = "true"
        return asked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add = parser.add_argument
    add("files", nargs="*", type=Path, metavar="FILE", help="recordings (default: bundled ones)")
    add(
        "--url", type=_web_address, help="the server (default: the configured one, on this machine)"
    )
    add("--key", help=f"key for it (default: {', '.join('$' + name for name in KEY_VARIABLES)})")
    add("--model", default="whisper-1", help="model alias (default: whisper-1)")
    add("--language", help="language code (default: detected)")
    add("--seconds", type=_length, help="join bundled recordings to about this length")
    add(
        "--concurrency",
        type=_counts,
        default=(1,),
        metavar="N,N…",
        help="requests at a time; a row for each number (default: 1)",
    )
    much = parser.add_mutually_exclusive_group()
    much.add_argument(
        "--requests",
        type=_count,
        default=DEFAULT_REQUESTS,
        help=f"how many for each row (default: {DEFAULT_REQUESTS})",
    )
    much.add_argument("--duration", type=_positive, metavar="S", help="or for how many seconds")
    add("--format", default="json", choices=FORMATS, help="response_format (default: json)")
    add("--stream", action="store_true", help="as events; measures the time to the first text")
    add("--warmup", type=_count, default=1, help="requests before, not counted (default: 1)")
    add("--timeout", type=_positive, default=600.0, metavar="S", help="of one request")
    add("--json", action="store_true", help="print the figures as JSON, not rounded")


def order(
    arguments: argparse.Namespace, *, url: str, certificate: Path | None = None
) -> BenchOrder:
    """Return the order in parsed arguments, for the server at `url`.

    `certificate` is that server's own, if it is the configured one.

    Raises:
        ConfigurationError: options do not go together.
    """
    if arguments.stream and arguments.format not in STREAMED_FORMATS:
        raise ConfigurationError(f"--stream goes with --format {' or '.join(STREAMED_FORMATS)}")
    if arguments.files and arguments.seconds:
        raise ConfigurationError("--seconds is for bundled recordings; it does not cut files")
    given = (os.environ.get(name) for name in KEY_VARIABLES)
    return BenchOrder(
        url=url,
        certificate=certificate,
        api_key=arguments.key or next(filter(None, given), None),
        model=arguments.model,
        files=tuple(arguments.files),
        seconds=arguments.seconds,
        concurrency=arguments.concurrency,
        requests=arguments.requests,
        duration_s=arguments.duration,
        response_format=arguments.format,
        language=arguments.language,
        stream=arguments.stream,
        warmup=arguments.warmup,
        timeout_s=arguments.timeout,
        as_json=arguments.json,
    )


def _count(text: str) -> int:
    value = _number(int, text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


def _positive(text: str) -> float:
    value = _number(float, text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return value


def _length(text: str) -> float:
    value = _positive(text)
    if value > LONGEST_S:
        raise argparse.ArgumentTypeError(f"must be {LONGEST_S:.0f} (a day) or less")
    return value


def _number(kind: Callable[[str], Number], text: str) -> Number:
    try:
        return kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from error


def _web_address(text: str) -> str:
    if not is_web_address(text):
        raise argparse.ArgumentTypeError(f"'{text}' is none such as http://gpu-box:8000")
    return text
