"""Streams of the real server, with real speech, through nginx and Caddy with our recipes."""

import asyncio
import io
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from support.client import TOTAL_S, ask, session, until_queue
from support.engine_processes import frozen, the_worker, worker_at_work
from support.freed import until_none
from support.processes import begun
from support.reverse_proxies import caddy, nginx
from support.server import ServerProcess, running_server
from support.speech import joined, sample

DEMO = 'default_model = "demo"\n'
CLIP = sample("en_hello_gb").path
MINUTE = sample("en_two_speakers_long").path
LIMIT_S = 120
Proxy = Callable[[Path, int], AbstractAsyncContextManager[Path]]


@asynccontextmanager
async def through(proxy: Proxy, server: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that sees the server only through the proxy."""
    port = urlsplit(server.url).port
    assert port is not None
    with tempfile.TemporaryDirectory(prefix="proxy-") as folder:
        async with (
            proxy(Path(folder), port) as socket,
            aiohttp.ClientSession(
                "http://whisper.example.org",
                connector=aiohttp.UnixConnector(str(socket)),
                timeout=aiohttp.ClientTimeout(total=TOTAL_S),
            ) as client,
        ):
            yield client


@asynccontextmanager
async def stream(
    client: aiohttp.ClientSession, path: Path, **headers: str
) -> AsyncIterator[aiohttp.StreamReader]:
    """Ask for a stream, and yield its body once it has begun."""
    form = aiohttp.FormData({"model": "whisper-1", "stream": "true"})
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    async with client.post("/v1/audio/transcriptions", data=form, headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield response.content


async def next_event(content: aiohttp.StreamReader) -> dict[str, Any]:
    """Return the next event; comments are none."""
    async for line in content:
        if line.startswith(b"data: "):
            event: dict[str, Any] = json.loads(line[6:])
            return event
    raise AssertionError("the stream ended")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where all of the server's files are."""
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def server(folder):
    """A server with one worker."""
    with running_server(folder, config=DEMO) as running:
        yield running


@pytest.fixture(params=[nginx, caddy], ids=lambda proxy: proxy.__name__)
async def client(request, server):
    """A client behind one of the proxies."""
    async with through(request.param, server) as connected:
        yield connected


@pytest.fixture(scope="module")
def long_wav(tmp_path_factory) -> Path:
    """Eight minutes of speech."""
    return joined(tmp_path_factory.mktemp("long") / "long.wav", *[MINUTE] * 8)


async def test_text_comes_while_the_server_works_and_who_leaves_frees_the_worker(
    server, client, long_wav, folder
):
    """The first delta is there long before the last chunk; then nothing is left of the request."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        async with stream(client, long_wav, **{"X-Progress-ID": "long"}) as content:
            first = await next_event(content)
            async with http.get(f"{server.url}/v1/progress/long") as response:
                progress = await response.json()
        await until_queue(http, server.url, running=0, waiting=0)
        status, answer = await ask(http, server.url, CLIP)
        async with http.get(f"{server.url}/v1/progress/long") as response:
            ended = await response.json()
    assert first["type"] == "transcript.text.delta"
    assert first["delta"].startswith("hello world")
    assert (progress["stage"], progress["percent"] < 50) == ("transcribing", True)
    assert (status, answer["text"]) == (200, "hello world")
    assert ended["stage"] == "failed"
    await until_none(folder, "*.f32")


async def test_a_worker_that_dies_does_not_break_the_stream(server, tmp_path):
    """The text is that of an undisturbed request, through either proxy."""
    path = joined(tmp_path / "two.wav", *[MINUTE] * 2)
    async with asyncio.timeout(LIMIT_S), session() as http:
        _, undisturbed = await ask(http, server.url, path)
        for number, proxy in enumerate((nginx, caddy), start=1):
            async with through(proxy, server) as client, stream(client, path) as content:
                events = [await next_event(content)]
                (await asyncio.to_thread(worker_at_work, server)).kill()
                while events[-1]["type"] != "transcript.text.done":
                    events.append(await next_event(content))
                assert await content.read() == b"\n"
            await asyncio.to_thread(server.wait_for_log, "chunk_interrupted", count=number)
            assert "".join(event.get("delta", "") for event in events) == events[-1]["text"]
            assert events[-1]["text"] == undisturbed["text"]


async def test_heartbeats_come_through_while_nothing_is_heard(server):
    """The only worker does nothing for so long; then the text comes on the same connection."""
    async with (
        asyncio.timeout(LIMIT_S),
        session() as http,
        through(nginx, server) as one,
        through(caddy, server) as other,
    ):
        await ask(http, server.url, CLIP)
        beaten = [asyncio.Event(), asyncio.Event()]

        async def listen(client: aiohttp.ClientSession, beat: asyncio.Event) -> dict[str, Any]:
            async with stream(client, CLIP) as content:
                assert await content.readline() == b": keep-alive\n"
                beat.set()
                return await next_event(content)

        with frozen(the_worker(server)):
            calls = [
                begun(listen(client, beat))
                for client, beat in zip((one, other), beaten, strict=True)
            ]
            for beat in beaten:
                await beat.wait()
        deltas = [(await call)["delta"] for call in calls]
    assert deltas == ["hello world"] * 2
