"""What sessions and requests leave behind on a real server: nothing."""

import asyncio
from pathlib import Path

import aiohttp
import psutil

from support.client import queue_of
from support.leaving import SPOOLED
from support.server import ServerProcess

LIMIT_S = 30


def begun(server: ServerProcess) -> int:
    """Return how many live sessions have begun."""
    return sum(line.get("event") == "live_session_began" for line in server.log)


def ended(server: ServerProcess) -> int:
    """Return how many live sessions have ended."""
    return sum(line.get("event") == "live_session_ended" for line in server.log)


def spooled(server: ServerProcess) -> list[str]:
    """Return the names of audio files on the server's disk."""
    directory = Path(psutil.Process(server.pid).environ()["TMPDIR"])
    return [path.name for path in directory.rglob("*") if SPOOLED.fullmatch(path.name)]


async def until_freed(server: ServerProcess, http: aiohttp.ClientSession, before: int) -> None:
    """Return once one more session has ended than `before`, and nothing of any is left.

    A session of an earlier test may end only now: all that have begun must have ended. The caller
    sets the time limit.
    """
    await asyncio.to_thread(server.wait_for_log, "live_session_ended", count=before + 1)
    while begun(server) > ended(server) or await _left(server, http):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def until_none(folder: Path, pattern: str) -> None:
    """Return once no such file is in the folder: it may go just after the answer has come."""
    async with asyncio.timeout(LIMIT_S):
        while any(path.exists() for path in folder.rglob(pattern)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def _left(server: ServerProcess, http: aiohttp.ClientSession) -> bool:
    queues = [await queue_of(http, server.url, alias) for alias in ("demo", "one")]
    return any(queue["running"] for queue in queues) or bool(
        await asyncio.to_thread(spooled, server)
    )
