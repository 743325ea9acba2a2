"""`whisper-router models list | pull | rm`."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from whisper_router.errors import ModelNotFound, RouterError
from whisper_router.models.catalog import Catalog, ListedModel
from whisper_router.models.download import DownloadProgress, OnProgress
from whisper_router.models.source import NO_WEIGHTS, LocalFile, ModelSpec
from whisper_router.models.store import ModelStore

OK, FAILED, USAGE = 0, 1, 2
PLAIN_STEP_PERCENT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where results and errors go. `out` draws tables and bars only on a terminal."""

    out: Console
    err: Console

    def say(self, text: str) -> None:
        """Print a line of result, as it is."""
        if self.out.is_terminal:
            self.out.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self.out.file.write(f"{text}\n")  # rich would turn tabs into spaces

    def complain(self, text: str) -> None:
        """Print an error, as it is."""
        self.err.print(f"error: {text}", markup=False, highlight=False, soft_wrap=True)


def list_models(*, catalog: Catalog, store: ModelStore, terminal: Terminal) -> int:
    """Print every model with its state. Returns the exit code."""
    rows = [_row(entry, store) for entry in catalog.list_all()]
    if not terminal.out.is_terminal:
        for row in rows:
            terminal.say("\t".join(row))
        return OK
    table = Table("Name", "State", "Size", "Model", box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))  # names are no markup
    terminal.out.print(table)
    files = store.installed()
    total = sum(file.size_bytes for file in files)
    terminal.say(f"{len(files)} files, {human_bytes(total)} in {store.directory}")
    return OK


async def pull(
    names: Sequence[str], *, catalog: Catalog, store: ModelStore, terminal: Terminal
) -> int:
    """Fetch the models' files, one after the other. Returns the exit code."""
    if (specs := _resolve(names, catalog, terminal)) is None:
        return USAGE
    for spec in specs:
        try:
            if (path := store.present(spec.source)) is not None:
                here = (
                    "is served elsewhere"
                    if spec.source is NO_WEIGHTS
                    else f"is here already, {path}"
                )
                terminal.say(f"{spec.alias}: {here}")
                continue
            await fetch(spec, store, terminal)
        except RouterError as error:
            terminal.complain(str(error))
            return FAILED
        path = store.path(spec.source)
        terminal.say(f"{spec.alias}: {human_bytes(path.stat().st_size)} in {path}")
    return OK


async def rm(
    names: Sequence[str], *, catalog: Catalog, store: ModelStore, terminal: Terminal
) -> int:
    """Delete the models' files from the store. Returns the exit code."""
    if (specs := _resolve(names, catalog, terminal)) is None:
        return USAGE
    for spec in specs:
        try:
            freed = await store.remove(spec.source)
        except RouterError as error:
            terminal.complain(str(error))
            return FAILED
        terminal.say(f"{spec.alias}: {human_bytes(freed)} freed")
    return OK


def human_bytes(count: int) -> str:
    """Return `count` as people write it: `465.0 MiB`."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _resolve(
    names: Sequence[str], catalog: Catalog, terminal: Terminal
) -> Sequence[ModelSpec] | None:
    try:
        return [catalog.resolve(name) for name in names]
    except ModelNotFound as error:
        terminal.complain(str(error))
        return None


def _row(entry: ListedModel, store: ModelStore) -> tuple[str, str, str, str]:
    spec = entry.spec
    path = store.present(spec.source)
    if spec.source is NO_WEIGHTS:
        size: int | None = None
    elif path is not None:
        size = path.stat().st_size
    else:
        size = None if isinstance(spec.source, LocalFile) else spec.source.size_bytes
    what = spec.description if entry.id == spec.alias else f"the same as {spec.alias}"
    return (
        entry.id,
        "ready" if path else "absent",
        "" if size is None else human_bytes(size),
        what or spec.engine,
    )


async def fetch(spec: ModelSpec, store: ModelStore, terminal: Terminal) -> None:
    """Fetch the model's file, if it is not here, and show how far that is.

    Raises:
        RouterError: it cannot be had.
    """
    if not terminal.out.is_terminal:
        await store.fetch(spec.source, on_progress=PlainProgress(spec.alias, terminal))
        return
    with _bar(terminal.out) as bar:
        await store.fetch(spec.source, on_progress=_on_bar(bar, spec.alias))


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def _on_bar(bar: Progress, name: str) -> OnProgress:
    task = bar.add_task(name, total=None)

    def show(progress: DownloadProgress) -> None:
        bar.update(
            task,
            completed=progress.done_bytes,
            total=progress.total_bytes,
            description=f"{name} (fetched by another process)" if progress.waiting else name,
        )

    return show


class PlainProgress:
    """Prints a line now and then: for logs and pipes."""

    def __init__(self, name: str, terminal: Terminal) -> None:
        self._name = name
        self._terminal = terminal
        self._next_percent = 0

    def __call__(self, progress: DownloadProgress) -> None:
        """Print how far it is, if that is far enough from the last line."""
        percent = progress.percent
        if percent is None or progress.total_bytes is None or percent < self._next_percent:
            return
        self._next_percent = percent - percent % PLAIN_STEP_PERCENT + PLAIN_STEP_PERCENT
        self._terminal.say(f"{self._name}: {percent} % of {human_bytes(progress.total_bytes)}")
