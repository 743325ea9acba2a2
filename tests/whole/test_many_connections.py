"""A real server that runs out of descriptors, and what is left of it afterwards."""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator

import aiohttp
import psutil
import pytest

from support.client import ask, session
from support.engine_processes import engine_processes
from support.server import ServerProcess, running_server

DEMO = 'default_model = "demo"\n'
LIMIT_S = 60
BEGUN = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
SOFT, HARD = 100, 264  # a hundred connections


@pytest.fixture
def server(tmp_path):
    """A server that was started with the usual low soft limit."""
    prefix = ("prlimit", f"--nofile={SOFT}:")
    with running_server(tmp_path, config=DEMO, prefix=prefix) as running:
        yield running


@contextlib.asynccontextmanager
async def busy_connections(server: ServerProcess, count: int) -> AsyncIterator[None]:
    """Keep so many connections open over which an upload has begun."""
    host, port = server.url.removeprefix("http://").split(":")
    made = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    for _, writer in made:
        writer.write(BEGUN)
    try:
        yield
    finally:
        for _, writer in made:
            writer.close()


def open_files(server: ServerProcess) -> int:
    return psutil.Process(server.pid).num_fds()


async def until_open(server: ServerProcess, *, at_most: int) -> None:
    while open_files(server) > at_most:  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.01)


async def test_the_router_takes_the_hard_limit_and_engines_keep_the_soft_one(server, samples):
    """Programs that use select(2) break with descriptors above 1024."""
    told = server.wait_for_log("file_limit")
    assert (told["before"], told["soft"]) == (SOFT, told["hard"])
    async with asyncio.timeout(LIMIT_S), session() as http:
        await ask(http, server.url, samples["en_hello_gb.wav"]["path"])
    assert psutil.Process(server.pid).rlimit(psutil.RLIMIT_NOFILE)[0] == told["hard"]
    for engine in engine_processes(server):
        assert engine.rlimit(psutil.RLIMIT_NOFILE)[0] == SOFT


async def test_a_connection_too_many_is_told_so_and_the_others_are_served(tmp_path, samples):
    """Before descriptors run out, so that requests that run have what they need."""
    path = samples["en_hello_gb.wav"]["path"]
    prefix = ("prlimit", f"--nofile={HARD}")
    with running_server(tmp_path, config=DEMO, prefix=prefix) as server:
        assert server.wait_for_log("file_limit_low")["connections"] == 100
        async with asyncio.timeout(LIMIT_S), session() as early:
            assert (await ask(early, server.url, path))[1]["text"] == "hello world"
            calm = open_files(server)
            async with busy_connections(server, 120), session() as late:
                async with late.get(f"{server.url}/v1/models") as response:
                    assert response.status == 503
                    assert response.headers["Retry-After"] == "5"
                    assert response.headers["Connection"] == "close"
                    error = (await response.json())["error"]
                    assert error["code"] == "too_many_open_files"
                async with late.get(f"{server.url}/health") as response:
                    assert response.status == 200
            await until_open(server, at_most=calm)
            async with session() as late:
                assert (await ask(late, server.url, path))[1]["text"] == "hello world"


async def test_a_router_without_descriptors_answers_who_is_there_and_serves_again(server, samples):
    """accept(2) fails for a while; nothing of that is held against anybody's audio."""
    path = samples["en_hello_gb.wav"]["path"]
    async with asyncio.timeout(LIMIT_S), session() as http:
        assert (await ask(http, server.url, path))[1]["text"] == "hello world"
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        status, answer = await ask(http, server.url, path)
        assert (status, answer["error"]["code"]) == (503, "too_many_open_files")
        for _ in range(20):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(0.2), session() as late:
                    await late.get(f"{server.url}/health")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        async with session() as late:
            assert (await ask(late, server.url, path))[1]["text"] == "hello world"
    assert server.process.poll() is None
