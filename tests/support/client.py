"""Asks a server for a transcription, as plain HTTP."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

TOTAL_S = 90.0


@contextlib.asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose requests cannot hang for ever."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TOTAL_S)) as http:
        yield http


async def ask(
    http: aiohttp.ClientSession, url: str, path: Path, **fields: str
) -> tuple[int, dict[str, Any]]:
    """Return status and body of a transcription of `path`."""
    form = aiohttp.FormData({"model": "whisper-1"} | fields)
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    async with http.post(f"{url}/v1/audio/transcriptions", data=form) as response:
        return response.status, await response.json()


async def state_of(http: aiohttp.ClientSession, url: str, model: str) -> dict[str, Any]:
    """Return what `/v1/models/{model}` says."""
    async with http.get(f"{url}/v1/models/{model}") as response:
        assert response.status == 200
        return await response.json()


async def queue_of(http: aiohttp.ClientSession, url: str, alias: str = "demo") -> dict[str, Any]:
    """Return how many chunks run on an alias's workers, and what waits for them."""
    async with http.get(f"{url}/v1/queue") as response:
        assert response.status == 200
        return (await response.json()).get(alias, {"running": 0, "waiting": []})


async def until_queue(
    http: aiohttp.ClientSession, url: str, *, running: int, waiting: int, alias: str = "demo"
) -> dict[str, Any]:
    """Return the queue once so many chunks run and wait; the caller sets the time limit."""
    while True:
        queue = await queue_of(http, url, alias)
        if (queue["running"], len(queue["waiting"])) == (running, waiting):
            return queue
        await asyncio.sleep(0.01)
