"""Requests to a real server whose workers are killed all the time."""

import asyncio
import contextlib
import io
import json
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from support.client import session
from support.server import ServerProcess
from whisper_router.audio.media_process import PROGRAM
from whisper_router_engines.whispercpp.engine import WORKER_MODULE

ANSWER_S = 300.0
WHOLE_S = 30.0
"""How long a worker's replacement may take on a busy machine."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A recording, and what to say about it."""

    path: Path
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back. `problem` is None for a whole transcript."""

    case: Case
    text: str
    took_s: float
    problem: str | None = None


@dataclass
class Killings:
    """How many workers were killed."""

    done: int = 0


def keepers(server: ServerProcess) -> list[int]:
    """Return the engine processes of the server."""
    return [pid for pid in _children(server.pid) if WORKER_MODULE in _command(pid)]


def workers(server: ServerProcess) -> list[int]:
    """Return the forked workers of all engine processes."""
    return [pid for keeper in keepers(server) for pid in _children(keeper)]


def media_workers(server: ServerProcess) -> list[int]:
    """Return the processes of the server that decode audio."""
    return [pid for pid in _children(server.pid) if PROGRAM in _command(pid)]


async def state_left(server: ServerProcess, *, workers_wanted: int) -> list[str]:
    """Return what is not as it should be when nothing is asked for: chunks, workers."""
    deadline_s = time.monotonic() + WHOLE_S
    async with session() as http:
        while found := await _left(http, server, workers_wanted):
            if time.monotonic() > deadline_s:
                break
            await asyncio.sleep(0.01)  # other processes set no event
    return found


async def _left(
    http: aiohttp.ClientSession, server: ServerProcess, workers_wanted: int
) -> list[str]:
    found = []
    async with http.get(f"{server.url}/v1/queue") as response:
        queue = await response.json()
    if any(alias["running"] or alias["waiting"] for alias in queue.values()):
        found.append(f"queue: {queue}")
    if len(here := workers(server)) != workers_wanted:
        found.append(f"workers: {here}")
    return found


@contextlib.asynccontextmanager
async def killing(
    server: ServerProcess, *, every_s: float, dice: random.Random, at_most: float = math.inf
) -> AsyncIterator[Killings]:
    """Kill one worker, whichever it is, again and again, until the block ends at the latest."""
    count = Killings()

    async def kill() -> None:
        while count.done < at_most:
            await asyncio.sleep(every_s)
            if living := workers(server):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(dice.choice(living), signal.SIGKILL)
                    count.done += 1

    task = asyncio.get_running_loop().create_task(kill())
    try:
        yield count
    finally:
        task.cancel()
        await asyncio.wait({task})


async def answers(
    server: ServerProcess, cases: Iterable[Case], *, at_once: int, **fields: str
) -> list[Answer]:
    """Send every case, so many at a time; return the answers in the order of the cases."""
    todo = iter(enumerate(cases))
    found: dict[int, Answer] = {}

    async def client(http: aiohttp.ClientSession) -> None:
        for number, case in todo:
            found[number] = await _ask(http, server.url, case, fields)

    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(client(http))
    return [found[number] for number in sorted(found)]


async def _ask(http: aiohttp.ClientSession, url: str, case: Case, fields: dict[str, str]) -> Answer:
    began_s = time.perf_counter()
    form = aiohttp.FormData({"model": "whisper-1"} | fields)
    if case.stream:
        form.add_field("stream", "true")
    form.add_field("file", io.BytesIO(case.path.read_bytes()), filename=case.path.name)
    text, problem = "", None
    async with http.post(f"{url}/v1/audio/transcriptions", data=form) as response:
        body = await response.text()
        if response.status != 200:
            problem = f"{response.status} {body}"
        elif case.stream:
            text, problem = _streamed(body)
        else:
            text = json.loads(body)["text"]
    return Answer(case=case, text=text, took_s=time.perf_counter() - began_s, problem=problem)


def _streamed(body: str) -> tuple[str, str | None]:
    """Return the text of `done`; anything else than deltas that add up to it is a problem."""
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    deltas = "".join(e["delta"] for e in events if e.get("type") == "transcript.text.delta")
    last = events[-1] if events else {"type": "nothing"}
    if last.get("type") != "transcript.text.done":
        return deltas, f"the stream ended with {last}"
    return last["text"], None if deltas == last["text"] else f"the deltas are: {deltas}"


def _children(pid: int) -> list[int]:
    """Return the living children of all threads of a process (proc_pid_children(5))."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return [child for child in found if not _is_zombie(child)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
