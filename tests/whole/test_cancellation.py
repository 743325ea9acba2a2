"""A client that goes away leaves nothing behind, at whatever stage its request is."""

import asyncio

import pytest

from support.client import ask, session
from support.leaving import CLIP, STAGES, Scene, busy
from support.server import running_server

pytestmark = pytest.mark.alone

CONFIG = 'default_model = "demo"\n[audio]\nmedia_workers = 1\n'
LIMIT_S = 60


@pytest.fixture
async def scene(tmp_path):
    """A server with one worker for audio and one for speech; both have run a clip."""
    with running_server(tmp_path, config=CONFIG) as server:
        async with session() as http:
            await ask(http, server.url, CLIP)
            yield Scene(server=server, http=http, directory=tmp_path)


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "waiting"])
async def test_who_leaves_frees_queue_worker_and_files(scene, stage):
    """And the next clip is heard, by a worker that has nothing else to do."""
    async with asyncio.timeout(LIMIT_S):
        async with STAGES[stage](scene, "mine") as leave:
            assert await scene.used() != (0, 0, [])
            leave()
            await scene.until_used((0, 0, []))
        await scene.until_stage("mine", "failed")
        assert (await ask(scene.http, scene.url, CLIP))[1]["text"] == "hello world"
    assert not [line for line in scene.server.log if line["level"] == "error"]


async def test_who_leaves_the_queue_is_not_served(scene):
    """Its place and its files are free at once, though the worker is still busy with another."""
    async with asyncio.timeout(LIMIT_S), busy(scene):
        before = await scene.used()
        async with STAGES["waiting"](scene, "mine") as leave:
            assert await scene.used() != before
            leave()
            await scene.until_used(before)
        await scene.until_stage("mine", "failed")
    async with asyncio.timeout(LIMIT_S):
        await scene.until_used((0, 0, []))
        assert (await ask(scene.http, scene.url, CLIP))[1]["text"] == "hello world"
