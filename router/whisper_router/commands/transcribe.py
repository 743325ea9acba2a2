"""`whisper-router transcribe`: files to text, with engines of our own or those of a server."""

import argparse
import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from whisper_router.commands.transcribe_local import LocalEngines
from whisper_router.commands.transcribe_remote import RemoteServer
from whisper_router.commands.transcribe_screen import Screen, View
from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.languages import language_code
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.settings import Settings

SUFFIXES = {
    "text": ".txt",
    "json": ".json",
    "verbose_json": ".json",
    "srt": ".srt",
    "vtt": ".vtt",
    "tsv": ".tsv",
    "lrc": ".lrc",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for."""

    paths: Sequence[Path]
    request: TranscriptionRequest
    response_format: str
    output_dir: Path | None
    url: str | None
    api_key: str | None


class Recogniser(Protocol):
    """Where files are transcribed."""

    async def recognise(self, path: Path, view: View) -> str:
        """Return the rendered result of one file, showing how far it is and what was heard.

        Raises:
            RouterError: it failed; the message says why.
        """
        ...


def order(arguments: argparse.Namespace) -> Order:
    """Turn parsed arguments into an `Order`.

    Raises:
        ConfigurationError: an option has a value that cannot be meant.
    """
    language = arguments.language
    if language is not None and (language := language_code(arguments.language)) is None:
        raise ConfigurationError(f"--language: '{arguments.language}' is not a language we know")
    return Order(
        paths=arguments.paths,
        request=TranscriptionRequest(
            model=arguments.model,
            task=Task.TRANSLATE if arguments.translate else Task.TRANSCRIBE,
            language=language,
            prompt=arguments.prompt,
            word_timestamps=arguments.words,
        ),
        response_format=arguments.format,
        output_dir=arguments.output_dir,
        url=arguments.url,
        api_key=arguments.api_key or os.environ.get("API_KEY") or os.environ.get("OPENAI_API_KEY"),
    )


async def transcribe(settings: Settings, order: Order) -> int:
    """Transcribe every file; go on after a failure. Returns 1 when a file failed."""
    configure_logging(level="error", style=LogFormat.TEXT)
    files = list(find_files(order.paths, settings.audio.extensions))
    targets = output_paths(files, order)
    if order.output_dir is not None:
        await asyncio.to_thread(_make, order.output_dir)
    screen = Screen.on_stderr(
        prints_text=order.response_format == "text" and order.output_dir is None
    )
    failed = 0
    async with _recogniser(settings, order) as recogniser:
        for path, target in zip(files, targets, strict=True):
            title = f"# {path}" if len(files) > 1 else ""
            try:
                await _transcribe_one(recogniser, screen, path, target=target, title=title)
            except BrokenPipeError:  # nobody reads what we print
                raise
            except (RouterError, OSError) as error:
                failed += 1
                screen.complain(f"{path}: {error}")
    return 1 if failed else 0


async def _transcribe_one(
    recogniser: Recogniser, screen: Screen, path: Path, *, target: Path | None, title: str
) -> None:
    with screen.view(path.name, title=title) as view:
        text = await recogniser.recognise(path, view)
    if not view.has_spoken:
        await asyncio.to_thread(_deliver, text, target, title)


def find_files(paths: Sequence[Path], extensions: Sequence[str]) -> Iterator[Path]:
    """Yield files as named, and those in directories whose extension is accepted, sorted.

    Raises:
        ConfigurationError: a path does not exist, or a directory holds nothing to transcribe.
    """
    for path in paths:
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.is_file() and file.suffix[1:].lower() in extensions
            )
            if not inside:
                raise ConfigurationError(f"{path}: no audio file in this directory")
            yield from inside
        elif path.exists():
            yield path
        else:
            raise ConfigurationError(f"{path}: no such file or directory")


def output_paths(files: Sequence[Path], order: Order) -> Sequence[Path | None]:
    """Return where each result goes; None is standard output. No two files share a place."""
    if order.output_dir is None:
        return [None] * len(files)
    suffix = SUFFIXES[order.response_format]
    names = _distinct_names(files)
    return [order.output_dir / f"{names[file]}{suffix}" for file in files]


def _distinct_names(files: Sequence[Path]) -> Mapping[Path, str]:
    """Return a name for each file: its stem or, as far as needed, extension and directories."""
    names = {file: file.stem for file in files}
    for depth in count(1):
        uses = Counter(names.values())
        clashing = [file for file, name in names.items() if uses[name] > 1]
        for number, file in enumerate(clashing):
            parts = [part for part in file.parts if part not in {file.anchor, ".."}]
            last = f"_{number}" if depth > len(parts) else ""
            names[file] = "_".join(parts[-depth:]) + last
        if not clashing:
            break
    return names


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"--output-dir: {directory}: {error.strerror}") from error


@asynccontextmanager
async def _recogniser(settings: Settings, order: Order) -> AsyncIterator[Recogniser]:
    if order.url is not None:
        async with RemoteServer.connect(
            order.url, order.api_key, order.request, order.response_format
        ) as remote:
            yield remote
    else:
        async with LocalEngines.start(settings, order.request, order.response_format) as local:
            yield local


def _deliver(text: str, target: Path | None, title: str) -> None:
    if target is not None:
        target.write_text(text, encoding="utf-8")
        return
    if title:
        print(title)
    print(text.rstrip("\n"))
    sys.stdout.flush()
