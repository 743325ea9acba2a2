"""Engines of a real server that are replaced while nobody uses them; model files that change."""

import asyncio
import os
import shutil
from pathlib import Path

import aiohttp

from support.client import ask, session
from support.engine_processes import forked_workers
from support.server import ServerProcess, running_server
from whisper_router_engines.whispercpp.engine import WhisperCpp

LIMIT_S = 60


async def processes(http: aiohttp.ClientSession, server: ServerProcess, alias: str) -> dict:
    async with http.get(f"{server.url}/v1/processes/{alias}") as response:
        return await response.json()


async def test_forked_workers_are_replaced_and_the_model_stays_loaded(tmp_path, samples):
    """The memory that they have lost is back after milliseconds."""
    config = 'default_model = "demo"\n[supervision]\nmax_requests = 2\n'
    path = samples["en_hello_gb.wav"]["path"]
    with running_server(tmp_path, config=config) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            texts = [(await ask(http, server.url, path))[1]["text"]]
            (before,) = forked_workers(server)  # it is replaced any moment after the next one
            texts.append((await ask(http, server.url, path))[1]["text"])
            told = await asyncio.to_thread(server.wait_for_log, "engine_recycled")
            assert (told["workers"], told["chunks"]) == (1, 2)
            texts.append((await ask(http, server.url, path))[1]["text"])
            assert texts == ["hello world"] * 3
            (after,) = forked_workers(server)
            assert before.pid != after.pid
            pool = await processes(http, server, "demo")
            assert (pool["starts"], pool["crashes"], pool["recycles"]) == (1, 0, 1)
            assert (pool["processes"][0]["pid"], pool["processes"][0]["chunks"]) == (told["pid"], 1)


async def test_a_model_file_that_is_replaced_or_deleted_breaks_no_request(tmp_path, samples):
    """What is loaded serves on; a new file is loaded once nobody uses the old one."""
    (model,) = WhisperCpp().bundled_models().values()
    ours, path = tmp_path / "ggml.bin", samples["en_hello_gb.wav"]["path"]
    await asyncio.to_thread(shutil.copy, model, ours)
    config = f'default_model = "own"\n[models.own]\npath = "{ours}"\n'
    with running_server(tmp_path, config=config) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:

            async def pid_after_request() -> int:
                _, answer = await ask(http, server.url, path, model="own")
                assert answer["text"] == "hello world"
                return (await processes(http, server, "own"))["processes"][0]["pid"]

            first = await pid_after_request()
            await asyncio.to_thread(_replace, ours, model)
            assert await pid_after_request() == first
            told = await asyncio.to_thread(server.wait_for_log, "engine_recycled")
            assert "replaced" in told["reason"]
            second = await pid_after_request()
            assert second != first
            ours.unlink()
            assert await pid_after_request() == second


def _replace(path: Path, model: Path) -> None:
    """Put another file there as a download does, or `mv`."""
    draft = path.with_suffix(".new")
    shutil.copy(model, draft)
    os.utime(draft)
    draft.replace(path)
