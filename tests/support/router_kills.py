"""A real router that is killed with SIGKILL, and what is left of it."""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

from support.client import ask, session
from support.processes import begun
from support.server import ServerProcess, running_server
from support.speech import sample

CLIP = sample("en_hello_gb").path
LONG = sample("en_two_speakers_long").path
GONE_S = 1.0
"""How long its engines and media workers may outlive it on a machine that is not busy."""
LEAST_CHILDREN = 3
CONFIG = """
default_model = "demo"
[models.demo]
model = "demo"
workers = 2
"""


@dataclass(frozen=True, kw_only=True)
class Death:
    """How one router ended. `orphans` were still there when they should have been gone.

    The others were gone after `gone_s`.
    """

    after_s: float
    children: int
    orphans: int
    gone_s: float


def kill_once(directory: Path, *, dice: random.Random, gone_s: float = GONE_S) -> Death:
    """Start a router, send it requests, and kill it at some moment of loading or serving.

    What it has started may live for `gone_s` longer.
    """
    with running_server(directory, config=CONFIG) as server:
        after_s = dice.uniform(0.0, 1.5)
        children = asyncio.run(_busy_for(server, after_s))
        server.stop(signal.SIGKILL)
        killed_s = time.monotonic()
        while orphans := [process for process in children if _runs(process)]:
            if time.monotonic() - killed_s > gone_s:
                break
            time.sleep(0.01)
        took_s = time.monotonic() - killed_s
    return Death(after_s=after_s, children=len(children), orphans=len(orphans), gone_s=took_s)


def left_after_next_start(directory: Path) -> list[Path]:
    """Start a router once more, let it answer, stop it; return files that it should not leave."""
    with running_server(directory, config=CONFIG) as server:
        asyncio.run(_answered(server))
        stale = stale_sockets(server, directory)
    return [*stale, *directory.rglob("*.f32"), *directory.rglob("upload-*")]


def stale_sockets(server: ServerProcess, directory: Path) -> list[Path]:
    """Return the engines' sockets on disk that no process of this server listens on."""
    sockets = set(_sockets(server, directory))
    used = {Path(address) for p in _family(server) for address in _addresses(p)}
    return [path for path in sockets if path not in used]


async def _busy_for(server: ServerProcess, seconds: float) -> list[psutil.Process]:
    """Send requests for so long, or until they have started something; return its processes."""

    async def client(http: aiohttp.ClientSession, path: Path) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                await ask(http, server.url, path)

    async with session() as http:
        tasks = [begun(client(http, path)) for path in (CLIP, LONG, LONG)]
        await asyncio.sleep(seconds)  # a moment chosen by dice, that nobody waits for
        while len(children := server.descendants()) < LEAST_CHILDREN:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # a busy machine is not that far yet
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return children


async def _answered(server: ServerProcess) -> None:
    async with session() as http:
        status, answer = await ask(http, server.url, CLIP)
        assert (status, answer["text"]) == (200, "hello world")


def _sockets(server: ServerProcess, directory: Path) -> Iterator[Path]:
    for process in _family(server):
        for address in _addresses(process):
            if address.endswith(".sock"):
                yield from Path(address).parent.glob("*.sock")
    yield from directory.rglob("*.sock")


def _addresses(process: psutil.Process) -> list[str]:
    """Return the Unix sockets that a process has; one that has just ended has none."""
    try:
        return [c.laddr for c in process.net_connections("unix") if c.laddr]
    except psutil.NoSuchProcess:
        return []


def _family(server: ServerProcess) -> list[psutil.Process]:
    return [psutil.Process(server.pid), *server.descendants()]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
