"""`whisper-router models list | pull | rm`, on a local hub."""

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from support.hub import Fault, Hub, isolate
from whisper_router.commands.models import Terminal, human_bytes, list_models, pull, rm
from whisper_router.models.catalog import Catalog, load_presets
from whisper_router.models.fetch_job import FetchLimits
from whisper_router.models.source import HubFile, LocalFile, ModelSpec, Origin
from whisper_router.models.store import ModelStore, StoreConfig
from whisper_router.tasks import Tasks

CONTENT = bytes(range(256)) * 4096  # 1 MiB
NAME = "owner/repo/ggml-x.bin"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that a command takes, and what it printed."""

    hub: Hub
    catalog: Catalog
    store: ModelStore
    out: io.StringIO
    err: io.StringIO

    def terminal(self, *, interactive: bool = False) -> Terminal:
        """Return a terminal, or what a command sees when its output goes to a file."""
        return Terminal(
            out=Console(file=self.out, force_terminal=interactive, width=100),
            err=Console(file=self.err, width=100),
        )


@pytest.fixture
async def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Setup]:
    isolate(monkeypatch, tmp_path / "hf")
    tasks = Tasks()
    async with Hub().running() as hub:
        config = StoreConfig(
            directory=tmp_path / "models",
            auto_download=False,
            endpoint=hub.url,
            limits=FetchLimits(attempts=2, backoff_s=0.01),
        )
        yield Setup(
            hub=hub,
            catalog=catalog(tmp_path),
            store=ModelStore(config=config, tasks=tasks),
            out=io.StringIO(),
            err=io.StringIO(),
        )
        await tasks.close()


def catalog(tmp_path: Path) -> Catalog:
    """Return a catalog with an alias on the hub and a bundled model."""
    source = HubFile(repo="owner/repo", file="ggml-x.bin")
    demo = tmp_path / "demo.bin"
    demo.write_bytes(b"weights")
    return Catalog(
        aliases={"x": ModelSpec(alias="x", engine="any", source=source, description="[mine]")},
        bundled={
            "demo": ModelSpec(
                alias="demo", engine="any", source=LocalFile(path=demo), origin=Origin.BUNDLED
            )
        },
        presets=load_presets(),
    )


async def test_pull_fetches_the_file_and_says_where_it_is(setup: Setup) -> None:
    """Also when downloads on request are off; plain lines when nobody looks."""
    setup.hub.add(NAME, CONTENT)
    arguments = {"catalog": setup.catalog, "store": setup.store}
    assert await pull(["x"], **arguments, terminal=setup.terminal()) == 0
    path = setup.store.directory / "owner--repo" / "ggml-x.bin"
    assert path.read_bytes() == CONTENT
    assert setup.out.getvalue().splitlines()[-1] == f"x: 1.0 MiB in {path}"
    assert "\x1b" not in setup.out.getvalue()
    assert await pull(["x", "demo"], **arguments, terminal=setup.terminal()) == 0
    assert f"x: is here already, {path}" in setup.out.getvalue()
    assert "demo: is here already" in setup.out.getvalue()
    assert setup.hub.starts(NAME) == [0]


async def test_pull_prints_progress_in_steps_when_nobody_looks(setup: Setup) -> None:
    """One line for each tenth at most."""
    setup.hub.add(NAME, CONTENT)
    gate = asyncio.Event()
    setup.hub.faults[NAME].append(Fault(after_bytes=len(CONTENT) // 2, hold=gate))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        pulling = group.create_task(
            pull(["x"], catalog=setup.catalog, store=setup.store, terminal=setup.terminal())
        )
        half = asyncio.Event()
        group.create_task(
            setup.store.fetch(
                setup.catalog.resolve("x").source,
                on_progress=lambda progress: half.set() if progress.percent == 50 else None,
            )
        )
        await half.wait()
        gate.set()
    assert pulling.result() == 0
    lines = [line for line in setup.out.getvalue().splitlines() if "%" in line]
    assert "x: 50 % of 1.0 MiB" in lines
    assert len(lines) <= 11


async def test_pull_draws_a_bar_on_a_terminal(setup: Setup) -> None:
    """With size and speed."""
    setup.hub.add(NAME, CONTENT)
    terminal = setup.terminal(interactive=True)
    assert await pull(["x"], catalog=setup.catalog, store=setup.store, terminal=terminal) == 0
    assert "━" in setup.out.getvalue()
    assert "MiB" in setup.out.getvalue()


async def test_pull_of_an_unknown_name_fetches_nothing(setup: Setup) -> None:
    """Exit code 2, before the known ones are touched."""
    code = await pull(
        ["x", "smal"], catalog=setup.catalog, store=setup.store, terminal=setup.terminal()
    )
    assert code == 2
    assert "Did you mean 'small'?" in setup.err.getvalue()
    assert setup.hub.tokens == []


async def test_a_pull_that_fails_says_why(setup: Setup) -> None:
    """Exit code 1; the result stream stays clean."""
    setup.hub.refuse(NAME, 403, X_Error_Code="GatedRepo")
    code = await pull(["x"], catalog=setup.catalog, store=setup.store, terminal=setup.terminal())
    assert code == 1
    assert "error: The hub refused owner/repo/ggml-x.bin (403)" in setup.err.getvalue()
    assert "HF_TOKEN" in setup.err.getvalue()
    assert setup.out.getvalue() == ""


async def test_rm_says_what_it_freed(setup: Setup) -> None:
    """And what it will not delete."""
    setup.hub.add(NAME, CONTENT)
    arguments = {"catalog": setup.catalog, "store": setup.store, "terminal": setup.terminal()}
    await pull(["x"], **arguments)
    assert await rm(["x"], **arguments) == 0
    assert setup.out.getvalue().endswith("x: 1.0 MiB freed\n")
    assert setup.store.installed() == []
    assert await rm(["demo"], **arguments) == 1
    assert "not a file of the store" in setup.err.getvalue()
    assert await rm(["nothing-like-it"], **arguments) == 2


async def test_list_shows_every_model_with_its_state(setup: Setup) -> None:
    """Tab-separated when nobody looks: name, state, size, what it is."""
    assert list_models(catalog=setup.catalog, store=setup.store, terminal=setup.terminal()) == 0
    rows = [line.split("\t") for line in setup.out.getvalue().splitlines()]
    table = {row[0]: row[1:] for row in rows}
    assert table["x"] == ["absent", "", "[mine]"]
    assert table["demo"] == ["ready", "7 bytes", "any"]
    assert table["large-v3-turbo-q5_0"][:2] == ["absent", "547.4 MiB"]
    assert table["gpt-4o-transcribe"][2] == "the same as whisper-1"


async def test_list_is_a_table_on_a_terminal(setup: Setup) -> None:
    """With the directory and its size below; brackets in names are no markup."""
    terminal = setup.terminal(interactive=True)
    assert list_models(catalog=setup.catalog, store=setup.store, terminal=terminal) == 0
    assert "Name" in setup.out.getvalue()
    assert "[mine]" in setup.out.getvalue()
    assert f"0 files, 0 bytes in {setup.store.directory}" in setup.out.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (2048, "2.0 KiB"), (5 * 2**30, "5.0 GiB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    """In powers of 1024."""
    assert human_bytes(count) == text
