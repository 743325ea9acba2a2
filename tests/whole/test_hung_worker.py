"""A worker that hangs costs its request the chunk's time budget and a second, and nothing else."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest

from support.client import ask, session
from support.engine_processes import frozen, the_worker, worker_at_work
from support.load import OtherLoad
from support.processes import begun, gone
from support.server import ServerProcess, running_server
from support.speech import joined, sample

pytestmark = pytest.mark.alone

BUDGET_S = 4.0
"""Of a chunk; a busy machine needs some of it."""
CONFIG = f"""
default_model = "demo"
[supervision]
chunk_timeout_s = {BUDGET_S}
chunk_timeout_factor = 0
"""
LIMIT_S = 100
QUIET_CORES = 0.25
BUSY_S = 20.0
"""What a new worker may take where other programs compute; on a quiet machine it is a second."""


@pytest.fixture
def server(tmp_path):
    """A server with one worker."""
    with running_server(tmp_path, config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    """Many short chunks, so that there is time to find a worker at one of them."""
    path = tmp_path_factory.mktemp("hung") / "clips.wav"
    return joined(path, *[sample("en_three_segments").path] * 6)


async def timed(http: aiohttp.ClientSession, server: ServerProcess, path: Path):
    """Return the answer of a loaded engine, and how long it took: the machine may be busy."""
    await ask(http, server.url, path)
    began_s = time.monotonic()
    return await ask(http, server.url, path), time.monotonic() - began_s


class Wait:
    """How long a request may take that began just now, and how long it has taken."""

    def __init__(self) -> None:
        self._others, self._began_s = OtherLoad(), time.monotonic()

    def is_in_time(self, alone_s: float) -> bool:
        """Tell whether a worker that hangs has cost its budget and a second, and nothing else."""
        took_s = time.monotonic() - self._began_s
        more_s = 1.0 if self._others.cores() < QUIET_CORES else BUSY_S
        return took_s < BUDGET_S + more_s + alone_s


async def test_a_worker_that_hangs_at_work_is_replaced_and_its_chunk_runs_again(server, clips):
    """`kill -STOP` while it computes; the answer is that of an undisturbed request."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        undisturbed, alone_s = await timed(http, server, clips)
        request = begun(ask(http, server.url, clips))
        worker = await asyncio.to_thread(worker_at_work, server)
        with frozen(worker):
            wait = Wait()
            assert await request == undisturbed
            assert wait.is_in_time(alone_s)
            await gone(worker.pid)
    server.wait_for_log("chunk_timed_out")


async def test_a_worker_that_does_not_take_its_work_up_is_replaced_with_its_process(server, clips):
    """`kill -STOP` while it is idle: nobody knows which worker it would have been."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        undisturbed, alone_s = await timed(http, server, clips)
        worker = the_worker(server)
        with frozen(worker):
            wait = Wait()
            assert await ask(http, server.url, clips) == undisturbed
            assert wait.is_in_time(alone_s)
            await gone(worker.pid)
    server.wait_for_log("engine_crashed")
