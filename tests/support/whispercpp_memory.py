"""Memory of process families, and the two ways of running several workers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil

from whisper_router.domain import Chunk, TranscriptionRequest
from whisper_router.engine_api import WorkerStarted
from whisper_router.testing.harness import Running, running
from whisper_router_engines.whispercpp.engine import WhisperCpp
from whisper_router_engines.whispercpp.options import WhisperCppOptions

REQUEST = TranscriptionRequest(model="bench", language="en")


def pss_bytes(processes: Sequence[Running]) -> int:
    """Return the proportional set size of the processes and all their children."""
    family = []
    for process in processes:
        parent = psutil.Process(process.process.pid)
        family += [parent, *parent.children(recursive=True)]
    return sum(member.memory_full_info().pss for member in family)


@asynccontextmanager
async def forked(model: Path, count: int) -> AsyncIterator[list[Running]]:
    """Run one process with `count` workers."""
    async with running(WhisperCpp(), model, WhisperCppOptions(workers=count, threads=1)) as one:
        yield [one]


@asynccontextmanager
async def separate(model: Path, count: int) -> AsyncIterator[list[Running]]:
    """Run `count` processes with a worker each."""
    async with AsyncExitStack() as stack:
        options = WhisperCppOptions(threads=1)
        starts = [running(WhisperCpp(), model, options) for _ in range(count)]
        yield [await stack.enter_async_context(start) for start in starts]


async def use_every_worker(processes: Sequence[Running], chunk: Chunk, count: int) -> set[int]:
    """Have each of `count` workers run the chunk at least once; return their ids."""
    seen: set[int] = set()
    while len(seen) < count:
        turns = [one for process in processes for one in [process] * (count // len(processes))]
        seen |= set(await asyncio.gather(*(_run(process, chunk) for process in turns)))
    return seen


async def _run(process: Running, chunk: Chunk) -> int:
    pid = 0
    events = process.engine.transcribe(process.http, process.endpoint, chunk, REQUEST)
    async for event in events:
        if isinstance(event, WorkerStarted):
            pid = event.pid
    return pid
