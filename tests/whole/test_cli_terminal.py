"""`whisper-router transcribe` at a real terminal: the bar, and the text as it comes."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from support.client import ask, session, until_queue
from support.engine_processes import frozen, the_worker
from support.processes import begun
from support.server import environment, running_server
from support.speech import joined
from support.terminal import SHOW_CURSOR, Terminal, at_terminal

DEMO = 'default_model = "demo"\n'
PERCENT = re.compile(r"(\d+) %")
Command = Callable[..., AbstractAsyncContextManager[Terminal]]


ARGV = (sys.executable, "-m", "whisper_router.cli", "transcribe")


def demo_environment(directory: Path) -> dict[str, str]:
    """Return an environment with the bundled model as default."""
    (directory / "router.toml").write_text(DEMO)
    return environment(directory) | {"WHISPER_ROUTER_CONFIG": str(directory / "router.toml")}


@pytest.fixture
def transcribe(tmp_path) -> Command:
    """Run the command at a terminal; `streams` may be file descriptors or `env`."""

    def run(
        *arguments: object, env: Mapping[str, str] | None = None, **streams: int
    ) -> AbstractAsyncContextManager[Terminal]:
        argv = (*ARGV, *map(str, arguments))
        return at_terminal(
            argv, env=demo_environment(tmp_path) | dict(env or {}), cwd=tmp_path, **streams
        )

    return run


@pytest.fixture(scope="module")
def long_speech(samples, tmp_path_factory) -> tuple[Path, list[str]]:
    """Two minutes in four chunks or so: the file, and the segments that are heard in it."""
    directory = tmp_path_factory.mktemp("long")
    path = joined(directory / "long.wav", *[samples["en_two_speakers_long.wav"]["path"]] * 2)
    done = subprocess.run(
        [*ARGV, "--format", "verbose_json", str(path)],
        env=demo_environment(directory),
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    return path, [segment["text"].strip() for segment in json.loads(done.stdout)["segments"]]


@pytest.fixture(scope="module")
def clip(samples) -> tuple[Path, str, list[str]]:
    """Seven seconds: the file, its text and its segments."""
    sample = samples["en_three_segments.wav"]
    return sample["path"], sample["text"], [segment["text"] for segment in sample["segments"]]


async def test_segments_are_printed_as_they_are_recognised(transcribe, long_speech):
    """Between them the bar tells how far that is; at the end it is gone."""
    path, texts = long_speech
    async with transcribe(path) as terminal:
        assert await terminal.end() == 0
    lines = [line.strip() for line in terminal.text.splitlines()]
    assert [line for line in lines if line in texts] == texts
    assert "transcribing" in terminal.text
    text = terminal.text
    between = text[text.index(f"{texts[0]}\n") : text.rindex(f"{texts[-1]}\n")]
    percents = [int(percent) for percent in PERCENT.findall(between)]
    assert percents == sorted(percents)
    assert percents[0] < 50 < percents[-1]
    assert SHOW_CURSOR in terminal.raw[-100:]


async def test_several_files_have_titles_and_a_bad_one_is_an_error_between_them(
    transcribe, samples, tmp_path
):
    """The title comes before the file's first segment."""
    (tmp_path / "bad.wav").write_text("no audio")
    hello, digits = samples["en_hello_gb.wav"], samples["de_digits.wav"]
    async with transcribe(hello["path"], tmp_path / "bad.wav", digits["path"]) as terminal:
        assert await terminal.end() == 1
    marks = (
        f"# {hello['path']}",
        "hello world",
        "bad.wav: ",
        f"# {digits['path']}",
        digits["text"],
    )
    places = [terminal.text.index(f"{mark}") for mark in marks]
    assert places == sorted(places)


async def test_a_redirected_result_is_whole_and_the_bar_stays_at_the_terminal(
    transcribe, clip, tmp_path
):
    """`transcribe … > out.txt`, and with `--output-dir`."""
    path, text, segments = clip
    with (tmp_path / "out.txt").open("wb") as out:
        async with transcribe(path, stdout=out.fileno()) as terminal:
            assert await terminal.end() == 0
    assert (tmp_path / "out.txt").read_text() == f"{text}\n"
    async with transcribe(path, "--output-dir", tmp_path / "out") as other:
        assert await other.end() == 0
    assert (tmp_path / "out" / f"{path.stem}.txt").read_text().strip() == text
    for screen in (terminal, other):
        assert PERCENT.search(screen.text)
        assert segments[0] not in screen.text


async def test_two_terminals_are_not_one(transcribe, clip):
    """Somebody sent stdout to another window: the text goes there, whole."""
    master, slave = pty.openpty()
    try:
        path, text, segments = clip
        async with transcribe(path, stdout=slave) as terminal:
            assert await terminal.end() == 0
        shown = b""
        while not shown.endswith(b"\n"):  # the terminal may hand it over in pieces
            shown += os.read(master, 1000)
        assert shown.decode().replace("\r\n", "\n") == f"{text}\n"
        assert segments[0] not in terminal.text
    finally:
        os.close(slave)
        os.close(master)


async def test_json_at_a_terminal_is_not_broken_into_lines(transcribe, clip):
    """It is printed by itself when the bar is gone."""
    path, text, _ = clip
    async with transcribe(path, "--format", "verbose_json") as terminal:
        assert await terminal.end() == 0
    (line,) = [line for line in terminal.text.splitlines() if '"segments"' in line]
    assert json.loads(line[line.index("{") :])["text"] == text


async def test_an_interrupt_leaves_the_terminal_as_it_was(transcribe, long_speech):
    """Ctrl-C in the middle: the cursor is back, exit code 130, no traceback."""
    path, segments = long_speech
    async with transcribe(*[path] * 20) as terminal:
        await terminal.until(segments[0])
        os.killpg(terminal.process.pid, signal.SIGINT)
        assert await terminal.end() == 130
    assert SHOW_CURSOR in terminal.raw[-100:]
    assert "Traceback" not in terminal.text


async def test_a_simple_terminal_gets_the_text_without_a_bar(transcribe, clip):
    """TERM=dumb knows no movements of the cursor."""
    path, _, texts = clip
    async with transcribe(path, env={"TERM": "dumb"}) as terminal:
        assert await terminal.end() == 0
    assert terminal.raw.replace("\r\n", "\n") == "".join(f"{text}\n" for text in texts)


async def test_a_busy_server_tells_the_place_in_its_queue(transcribe, clip, tmp_path):
    """The bar shows place and estimate while the only worker does nothing; then the text."""
    path, _, texts = clip
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http:
            await ask(http, server.url, path)
            with frozen(the_worker(server)):
                first = begun(ask(http, server.url, path))
                await until_queue(http, server.url, running=1, waiting=0)
                second = begun(ask(http, server.url, path))
                await until_queue(http, server.url, running=1, waiting=1)
                async with transcribe(path, "--url", server.url) as terminal:
                    await terminal.until(r"waiting, 1 before it, in about \d+ s")
                    os.kill(the_worker(server).pid, signal.SIGCONT)
                    assert await terminal.end() == 0
            assert [(await call)[0] for call in (first, second)] == [200, 200]
    lines = [line.strip() for line in terminal.text.splitlines()]
    assert [line for line in lines if line in texts] == texts
