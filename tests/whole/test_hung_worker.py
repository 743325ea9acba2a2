"""A worker that hangs costs its request the chunk's time budget and a second, and nothing else."""

import asyncio
import time

import aiohttp
import pytest

from support.client import ask, session
from support.engine_processes import frozen, the_worker, worker_at_work
from support.processes import begun, gone
from support.server import ServerProcess, running_server
from support.speech import sample

pytestmark = pytest.mark.alone

BUDGET_S = 2.0
CONFIG = f"""
default_model = "demo"
[supervision]
chunk_timeout_s = {BUDGET_S}
chunk_timeout_factor = 0
"""
CLIP = sample("en_three_segments")
LIMIT_S = 60


@pytest.fixture
def server(tmp_path):
    """A server with one worker."""
    with running_server(tmp_path, config=CONFIG) as running:
        yield running


async def timed(http: aiohttp.ClientSession, server: ServerProcess):
    """Return the answer of a loaded engine, and how long it took: the machine may be busy."""
    await ask(http, server.url, CLIP.path)
    began_s = time.monotonic()
    return await ask(http, server.url, CLIP.path), time.monotonic() - began_s


async def test_a_worker_that_hangs_at_work_is_replaced_and_its_chunk_runs_again(server):
    """`kill -STOP` while it computes; the answer is that of an undisturbed request."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        undisturbed, alone_s = await timed(http, server)
        request = begun(ask(http, server.url, CLIP.path))
        worker = await asyncio.to_thread(worker_at_work, server)
        with frozen(worker):
            began_s = time.monotonic()
            assert await request == undisturbed
            assert time.monotonic() - began_s < BUDGET_S + 1.0 + alone_s
            await gone(worker.pid)
    server.wait_for_log("chunk_timed_out")


async def test_a_worker_that_does_not_take_its_work_up_is_replaced_with_its_process(server):
    """`kill -STOP` while it is idle: nobody knows which worker it would have been."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        undisturbed, alone_s = await timed(http, server)
        worker = the_worker(server)
        with frozen(worker):
            began_s = time.monotonic()
            assert await ask(http, server.url, CLIP.path) == undisturbed
            assert time.monotonic() - began_s < BUDGET_S + 1.0 + alone_s
            await gone(worker.pid)
    server.wait_for_log("engine_crashed")
