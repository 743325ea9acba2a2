"""A thousand queued jobs, and the result of three hours in every format, over HTTP.

The engine is suspended, so that the jobs stay queued. While results are written `/health` is asked
again and again, by a program of its own. Usage: bench_jobs.py [--jobs N]
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.client import session
from support.engine_processes import engine_processes, worker_at_work
from support.job_samples import make_job
from support.server import ServerProcess, running_server
from support.speech import sample
from whisper_router.domain import (
    Client,
    Segment,
    SpeakerOptions,
    Task,
    TokenLogprob,
    Transcript,
    Word,
)
from whisper_router.jobs.model import JobStatus
from whisper_router.jobs.sqlite import open_store

CONFIG = """
default_model = "demo"
[jobs]
directory = "{folder}/jobs"
max_running = 1
[supervision]
chunk_timeout_s = 3600
"""
MIB = 1 << 20
LISTINGS = 200
HOURS = 3
FORMATS = (
    "json",
    "text",
    "srt",
    "vtt",
    "tsv",
    "lrc",
    "aud",
    "verbose_json",
    "verbose_json&timestamp_granularities[]=word&timestamp_granularities[]=segment&include[]=logprobs",
    "vtt_json",
    "diarized_json",
    "rttm",
    "srt&max_words_per_line=3",
    "vtt&highlight_words=true",
)
PROBE = """
import asyncio, sys, time, aiohttp

async def main():
    stop, took_s, is_ready = asyncio.Event(), [], False
    asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    async with aiohttp.ClientSession() as http:
        while not stop.is_set() or len(took_s) < 2:
            began_s = time.perf_counter()
            async with http.get(sys.argv[1] + "/health") as response:
                await response.read()
            took_s.append(time.perf_counter() - began_s)
            if not is_ready and len(took_s) == 5:
                is_ready = True
                took_s.clear()
                print("ready", flush=True)
            await asyncio.sleep(0.005)
    print(max(took_s, default=0.0))

asyncio.run(main())
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `limit` None: it is only told."""

    what: str
    measured: float
    unit: str
    limit: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether it is over its limit."""
        return self.limit is not None and self.measured > self.limit

    def line(self) -> str:
        """Return a line of the table."""
        limit = "" if self.limit is None else f"{self.limit:g} {self.unit}"
        return f"| {self.what} | {self.measured:.1f} {self.unit} | {limit} |"


def main() -> int:
    """Print the tables; 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=1000)
    arguments = parser.parse_args()
    print(f"{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        rows = asyncio.run(measure(Path(name), arguments.jobs))
    print("| what | measured | limit |\n|---|---|---|")
    print("\n".join(row.line() for row in rows))
    return 1 if any(row.is_missed for row in rows) else 0


async def measure(folder: Path, jobs: int) -> list[Row]:
    """Return all figures."""
    await keep_long_job(folder / "jobs" / "jobs.db")
    with running_server(folder, config=CONFIG.format(folder=folder)) as server:
        async with session() as http:
            rendered = [row async for row in rendering(http, server)]
            queued = [row async for row in queueing(http, server, folder, jobs)]
    return queued + rendered


async def queueing(
    http: aiohttp.ClientSession, server: ServerProcess, folder: Path, jobs: int
) -> AsyncIterator[Row]:
    """Queue jobs behind one that does not go on, and list them."""
    minute = sample("en_two_speakers_long")
    await submit(http, server, minute.path)
    await asyncio.to_thread(worker_at_work, server)
    for worker in engine_processes(server):
        worker.suspend()
    router, hello, took_s = psutil.Process(server.process.pid), sample("en_hello_gb").path, []
    before = 0
    for number in range(jobs):
        if number == jobs // 10:
            before = router.memory_info().rss
        began_s = time.perf_counter()
        await submit(http, server, hello)
        took_s.append(time.perf_counter() - began_s)
    yield Row(what="a job is made, p95", measured=1000 * p95(took_s), unit="ms")
    for limit, most_ms in ((20, 50.0), (100, 50.0), (1000, None)):
        listed = [await timed(http, f"{server.url}/v1/jobs?limit={limit}") for _ in range(LISTINGS)]
        what = f"{jobs} jobs queued, {limit} of them listed, p95"
        yield Row(what=what, measured=1000 * p95(listed), unit="ms", limit=most_ms)
    grown = (router.memory_info().rss - before) / MIB
    what = f"router memory, grown from {jobs // 10} to {jobs} jobs and by the listings"
    yield Row(what=what, measured=grown, unit="MiB", limit=10.0)
    size = sum(path.stat().st_size for path in (folder / "jobs").glob("jobs.db*"))
    what = f"database and log with {jobs} jobs and the long result"
    yield Row(what=what, measured=size / MIB, unit="MiB", limit=20.0)


async def rendering(http: aiohttp.ClientSession, server: ServerProcess) -> AsyncIterator[Row]:
    """Ask for the long result in every format."""
    idle = []
    for _ in range(5):
        async with health_delays(server) as idle_s:
            await asyncio.sleep(0.3)
        idle += idle_s
    idle_ms = 1000 * statistics.median(idle)
    yield Row(what="/health with nothing else, longest", measured=idle_ms, unit="ms")
    for wanted in FORMATS:
        url = f"{server.url}/v1/jobs/job_long/result?response_format={wanted}"
        async with health_delays(server) as delays_s:
            took_s = await timed(http, url)
        shown = wanted.replace("timestamp_granularities[]=", "").replace("include[]=", "")
        yield Row(what=f"{HOURS} h as {shown}", measured=1000 * took_s, unit="ms", limit=1000.0)
        late_ms = 1000 * delays_s[0] - idle_ms
        yield Row(
            what="— /health later than with nothing else, longest",
            measured=late_ms,
            unit="ms",
            limit=50.0,
        )


@asynccontextmanager
async def health_delays(server: ServerProcess) -> AsyncIterator[list[float]]:
    """Yield a list that holds the longest answer time of `/health` once the block has ended."""
    probe = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROBE, server.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    found: list[float] = []
    assert probe.stdout is not None
    await probe.stdout.readline()
    yield found
    out, _ = await probe.communicate(b"\n")
    found.append(float(out))


async def submit(http: aiohttp.ClientSession, server: ServerProcess, path: Path) -> None:
    """Make a job."""
    form = aiohttp.FormData({"model": "demo"})
    form.add_field("file", path.read_bytes(), filename=path.name)
    async with http.post(f"{server.url}/v1/jobs", data=form) as response:
        assert response.status == 202, await response.text()


async def timed(http: aiohttp.ClientSession, url: str) -> float:
    """Return how long an answer took, in seconds."""
    began_s = time.perf_counter()
    async with http.get(url) as response:
        body = await response.read()
        assert response.status == 200, body[:300]
    return time.perf_counter() - began_s


def p95(values: list[float]) -> float:
    """Return what 95 % are below."""
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


async def keep_long_job(path: Path) -> None:
    """Keep a job that is complete, with 3 s in each segment, words and tokens."""
    job = make_job("job_long", owner=Client().name)
    request = replace(
        job.request, model="demo", task=Task.TRANSCRIBE, speakers=SpeakerOptions(), logprobs=True
    )
    async with open_store(path) as store:
        await store.add(replace(job, request=request))
        await store.finish(
            "job_long", JobStatus.COMPLETED, now_s=time.time(), transcript=long_transcript()
        )


def long_transcript() -> Transcript:
    """Return what three hours of speech are."""
    return Transcript(
        task=Task.TRANSCRIBE, language="en", duration_s=HOURS * 3600.0, segments=tuple(_segments())
    )


def _segments() -> Iterator[Segment]:
    for number in range(HOURS * 1200):
        start_s, speaker = number * 3.0, "ab"[number // 5 % 2]
        words = [
            Word(
                text=" word",
                start_s=start_s + index * 0.3,
                end_s=start_s + index * 0.3 + 0.2,
                probability=0.9,
                speaker=speaker,
            )
            for index in range(9)
        ]
        yield Segment(
            start_s=start_s,
            end_s=start_s + 2.9,
            text=" word" * 9,
            seek_s=start_s,
            words=tuple(words),
            tokens=tuple(range(12)),
            logprobs=tuple(TokenLogprob(token=" w", logprob=-0.1, data=b" w") for _ in range(12)),
            speaker=speaker,
        )


if __name__ == "__main__":
    sys.exit(main())
