"""What every answer tells of the queue, while the only worker does nothing."""

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from support.client import ask, session, until_queue
from support.engine_processes import frozen, the_worker
from support.processes import begun
from support.server import running_server

CONFIG = 'default_model = "demo"\n[server]\ncors_origins = ["*"]\n'
LIMIT_S = 60
STREAM = {"stream": "true"}


@pytest.fixture(scope="module")
def clip(samples) -> Path:
    """Two words."""
    return samples["en_hello_gb.wav"]["path"]


async def headers_of(
    http: aiohttp.ClientSession, url: str, path: Path, **fields: str
) -> tuple[int, Mapping[str, str], str]:
    """Return status, headers and body of the answer."""
    form = aiohttp.FormData({"model": "whisper-1"} | fields)
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    async with http.post(
        f"{url}/v1/audio/transcriptions", data=form, headers={"Origin": "https://page.example"}
    ) as response:
        return response.status, response.headers, await response.text()


@contextlib.asynccontextmanager
async def busy(
    directory: Path, config: str, clip: Path
) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A client of a server whose only worker is stuck in a request, answered after the block.

    Yields the client and the server's URL.
    """
    with running_server(directory, config=config) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            await ask(http, server.url, clip)
            with frozen(the_worker(server)):
                running = begun(headers_of(http, server.url, clip))
                await until_queue(http, server.url, running=1, waiting=0)
                yield http, server.url
            assert (await running)[0] == 200


async def test_every_answer_tells_its_place_when_it_came_and_how_long_it_waited(tmp_path, clip):
    """JSON, text and events; browsers may read it; the first found the worker free."""
    with running_server(tmp_path, config=CONFIG) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            await ask(http, server.url, clip)
            calls, seen_s = [], []
            orders = ({}, {"response_format": "json"}, {"response_format": "text"}, STREAM)
            with frozen(the_worker(server)):
                for waiting, fields in enumerate(orders):
                    calls.append(begun(headers_of(http, server.url, clip, **fields)))
                    await until_queue(http, server.url, running=1, waiting=waiting)
                    seen_s.append(time.monotonic())
                end_s = time.monotonic()
            answers = [await call for call in calls]
            await asyncio.to_thread(server.wait_for_log, "request_done", count=5)
            told = [line for line in server.log if line["event"] == "request_done"]
            first, *_, last = [line for line in told if "wait_s" in line]
    assert last["wait_s"] >= end_s - seen_s[-1] - 0.001
    assert first["wait_s"] < last["wait_s"] < last["took_s"]
    assert all(line["wait_s"] + line["work_s"] <= line["took_s"] + 0.01 for line in (first, last))
    assert [status for status, _, _ in answers] == [200] * 4
    assert all("hello world" in body for _, _, body in answers)
    assert [headers["x-queue-position"] for _, headers, _ in answers] == ["0", "0", "1", "2"]
    for (_, headers, _), since_s in list(zip(answers, seen_s, strict=True))[1:]:
        assert int(headers["x-queue-time"]) >= (end_s - since_s) * 1000 - 1
    for _, headers, _ in answers:
        exposed = headers["Access-Control-Expose-Headers"]
        assert {"x-queue-position", "x-queue-time"} <= set(exposed.split(", "))
        assert headers["x-queue-time"].isdigit()


async def test_a_refusal_tells_how_many_wait(tmp_path, clip):
    """429: nothing was waited for."""
    config = CONFIG + "[queue]\nmax_requests = 1\n"
    async with busy(tmp_path, config, clip) as (http, url):
        waiting = begun(headers_of(http, url, clip))
        await until_queue(http, url, running=1, waiting=1)
        status, headers, _ = await headers_of(http, url, clip)
        waiting.cancel()
        await until_queue(http, url, running=1, waiting=0)
    assert (status, headers["x-queue-position"]) == (429, "1")
    assert int(headers["Retry-After"]) >= 1
    assert "x-queue-time" not in headers


async def test_who_waited_in_vain_is_told_how_long(tmp_path, clip):
    """504 after `queue.timeout_s`."""
    config = CONFIG + "[queue]\ntimeout_s = 0.2\n"
    async with busy(tmp_path, config, clip) as (http, url):
        status, headers, body = await headers_of(http, url, clip)
    assert (status, "queue_timeout" in body) == (504, True)
    assert headers["x-queue-position"] == "0"
    assert int(headers["x-queue-time"]) >= 200


async def test_what_never_came_to_the_queue_tells_nothing(server, samples):
    """Silence needs no worker, a bad request gets none, other routes have no queue."""
    async with session() as http:
        silence = samples["silence.wav"]["path"]
        status, headers, _ = await headers_of(http, server.url, silence)
        assert (status, "x-queue-position" in headers) == (200, False)
        status, headers, _ = await headers_of(http, server.url, silence, temperature="7")
        assert (status, "x-queue-position" in headers) == (400, False)
        async with http.get(f"{server.url}/v1/models") as response:
            assert "x-queue-position" not in response.headers
