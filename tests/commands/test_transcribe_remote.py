"""`whisper-router transcribe --url` at a terminal, with our server and with others."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiohttp import web

from support.api_app import GOOD, HELD, LATE_CRASH, Setup, sample, sample_path, serve_api
from support.server import environment
from support.terminal import Terminal, at_terminal

CLIP = sample_path("en_three_segments.wav")
FIRST, *REST = [segment["text"] for segment in sample(CLIP.name)["segments"]]
Remote = Callable[..., AbstractAsyncContextManager[Terminal]]


def command(url: str, *options: str) -> tuple[str, ...]:
    program = (sys.executable, "-m", "whisper_router.cli", "transcribe", "--url", url)
    return (*program, *options, str(CLIP))


@pytest.fixture
def remote(tmp_path) -> Remote:
    """Run the command at a terminal."""

    def run(url: str, *options: str, **streams: object) -> AbstractAsyncContextManager[Terminal]:
        argv = command(url, *options)
        return at_terminal(argv, env=environment(tmp_path), cwd=tmp_path, **streams)

    return run


@pytest.fixture
async def api(tmp_path):
    """Our API; its model `held` says a segment and then waits."""
    async with serve_api(tmp_path / "spool", Setup()) as running:
        yield running


class Other:
    """Another vendor's server: it knows nothing of our progress, and streams parts of words."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pieces: list[bytes] = []

    async def transcribe(self, request: web.Request) -> web.StreamResponse:
        """Answer the pieces as events, or JSON when there are none."""
        self.asked.append(request.path)
        await request.read()
        if not self.pieces:
            return web.json_response({"text": "hello from afar"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(piece)
        return response

    async def anything(self, request: web.Request) -> web.Response:
        """Answer 404 in its own words."""
        self.asked.append(request.path)
        return web.Response(status=404, text="nothing here")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yield the base URL."""
        app = web.Application()
        app.router.add_post("/v1/audio/transcriptions", self.transcribe)
        app.router.add_get("/{any:.*}", self.anything)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


@pytest.fixture
async def other():
    """Another vendor's server, not running yet."""
    return Other()


async def test_text_is_there_while_the_server_still_works(api, remote):
    """With percentage and stage as the server tells them; the rest comes when it goes on."""
    async with remote(api.base_url, "--model", HELD) as terminal:
        await terminal.until(FIRST)
        await terminal.until(r"33 % .* transcribing")
        assert not any(text in terminal.text for text in REST)
        assert api.recogniser.reached.is_set()
        api.recogniser.release.set()
        assert await terminal.end() == 0
    lines = [line.strip() for line in terminal.text.splitlines()]
    assert [line for line in lines if line in (FIRST, *REST)] == [FIRST, *REST]


async def test_an_error_after_the_first_text_is_told(api, remote):
    """Exit code 1; what was heard stays on the screen."""
    async with remote(api.base_url, "--model", LATE_CRASH) as terminal:
        assert await terminal.end() == 1
    assert FIRST in terminal.text
    assert "the server ended with: The engine's answer ended before" in terminal.text


async def test_in_a_pipe_the_text_is_whole_and_nobody_asks_for_progress(api, tmp_path):
    """No stream, no bar."""
    process = await asyncio.create_subprocess_exec(
        *command(api.base_url, "--model", GOOD),
        env=environment(tmp_path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert out.decode() == f"{FIRST} {' '.join(REST)}\n"


async def test_a_file_gets_the_whole_text_and_the_terminal_the_bar(api, remote, tmp_path):
    """`transcribe … > out.txt`."""
    with (tmp_path / "out.txt").open("wb") as out:
        async with remote(api.base_url, "--model", GOOD, stdout=out.fileno()) as terminal:
            assert await terminal.end() == 0
    assert (tmp_path / "out.txt").read_text() == f"{FIRST} {' '.join(REST)}\n"
    assert CLIP.name in terminal.text
    assert FIRST not in terminal.text


async def test_a_server_that_does_not_stream_is_as_good(other, remote):
    """It ignores `stream`, and does not know what progress is."""
    async with other.running() as url, remote(url) as terminal:
        assert await terminal.end() == 0
    assert terminal.text.rstrip().endswith("hello from afar")


async def test_parts_of_words_are_not_shown_one_by_one(other, remote):
    """Nobody could read a word on three lines."""
    deltas = [
        b'data: {"type":"transcript.text.delta","delta":"%s"}\n\n' % p for p in (b"he", b"llo")
    ]
    other.pieces = [*deltas, b'data: {"type":"transcript.text.done","text":"hello"}\n\n']
    async with other.running() as url, remote(url) as terminal:
        assert await terminal.end() == 0
    assert [line.strip() for line in terminal.text.splitlines() if "he" in line][-1] == "hello"
    assert terminal.text.count("llo") == 1


async def test_a_stream_that_just_ends_is_an_error(other, remote):
    """A proxy or the server gave up."""
    other.pieces = [b'data: {"type":"transcript.text.delta","delta":"he"}\n\n']
    async with other.running() as url, remote(url) as terminal:
        assert await terminal.end() == 1
    assert "ended before it was complete" in terminal.text


async def test_without_a_bar_no_server_is_asked_for_progress(other, tmp_path):
    """Nobody would see it."""
    async with other.running() as url, asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            *command(url, "--format", "json"),
            env=environment(tmp_path),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert await process.wait() == 0
    assert other.asked == ["/v1/audio/transcriptions"]
