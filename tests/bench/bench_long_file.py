"""A long file: when its first text comes, what overlaps, and how much memory it takes.

Usage: bench_long_file.py [--rounds N] [--minutes N] [--hours N]
"""

import argparse
import asyncio
import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.audio_files import ffmpeg
from support.interrupted import CUT_S, MINUTE
from support.long_request import LongRequest, Moment, long_request
from support.processes import begun
from support.server import ServerProcess, running_server
from support.usage import memory_bytes

MIB = 1 << 20
MAX_MEMORY_MIB = 300
SAMPLE_S = 0.05
AFTERWARDS_S = 10.0
"""How long memory is watched after the last sample is decoded, while chunks run."""
TIMELINE_LINES = 24


def main() -> int:
    """Print three tables; 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--hours", type=int, default=3)
    arguments = parser.parse_args()
    print(f"machine: {platform.machine()}, {psutil.cpu_count()} cores, {platform.system()}\n")
    with tempfile.TemporaryDirectory() as name:
        return 0 if asyncio.run(measure(Path(name), arguments)) else 1


async def measure(folder: Path, arguments: argparse.Namespace) -> bool:
    """Ask one server for everything; tell whether all limits were kept."""
    minute, first = folder / "minute.mp3", folder / "first.mp3"
    ffmpeg("-i", MINUTE.path, minute)
    ffmpeg("-t", str(CUT_S), "-i", MINUTE.path, first)
    hour = repeated(minute, folder / "hour.mp3", arguments.minutes)
    hours = repeated(minute, folder / "hours.mp3", arguments.hours * 60)
    spool = folder / "spool"
    config = f'default_model = "demo"\n[audio]\nspool_dir = "{spool}"\n'
    timeout = aiohttp.ClientTimeout(total=None, sock_read=60)
    with running_server(folder, config=config) as server:
        async with aiohttp.ClientSession(server.url, timeout=timeout) as http:
            good = [
                await first_text(http, first, hour, arguments.rounds),
                await overlap(http, hour),
                await memory(http, server, hours, spool),
            ]
    return all(good)


def repeated(minute: Path, target: Path, times: int) -> Path:
    """Write the minute that many times in a row."""
    ffmpeg("-stream_loop", str(times - 1), "-i", minute, "-c", "copy", target)
    return target


async def first_text(http: aiohttp.ClientSession, first: Path, hour: Path, rounds: int) -> bool:
    """Time the first chunk's audio as a file of its own, and the first delta of the long file."""
    await whole_s(http, first)  # the first request loads the model
    alone_s, delta_s = [], []
    for number in range(rounds):
        alone_s.append(await whole_s(http, first))
        async with long_request(http, hour, name=f"first-text-{number}") as request:
            delta_s.append(await request.first_delta_s)
    limit_s = 2 * statistics.median(alone_s) + 1
    print(f"{'long MP3, one worker':40} {'p50':>8} {'max':>8}")
    for what, times_s in (
        ("its first chunk as a file of its own", alone_s),
        (f"first text of {hour.stat().st_size / MIB:.0f} MiB", delta_s),
    ):
        print(f"{what:40} {statistics.median(times_s):6.2f} s {max(times_s):6.2f} s")
    print(f"{'limit: 2 chunks + 1 s':40} {limit_s:6.2f} s")
    return statistics.median(delta_s) <= limit_s


async def whole_s(http: aiohttp.ClientSession, path: Path) -> float:
    """Return how long a file takes from its first byte to its transcript."""
    form = aiohttp.FormData({"model": "demo"})
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    began_s = time.perf_counter()
    async with http.post("/v1/audio/transcriptions", data=form) as response:
        assert response.status == 200, await response.text()
        await response.read()
    return time.perf_counter() - began_s


async def overlap(http: aiohttp.ClientSession, hour: Path) -> bool:
    """Print decoding and speech detection beside the chunks that were done meanwhile."""
    async with long_request(http, hour, name="timeline") as request:
        moments = await until_decoded(request)
    last = moments[-1]
    first = next((moment for moment in moments if moment.done_s > 0), last)
    print(f"\n{'time':>10} {'stage':>13} {'decoded':>10} {'speech':>10} {'done':>10}  (s of audio)")
    for moment in thinned(moments):
        print(
            f"{moment.at_s:8.2f} s {moment.stage:>13} {moment.decoded_s:10.1f} "
            f"{moment.speech_s:10.1f} {moment.done_s:10.1f}"
        )
    print(
        f"{first.decoded_s:.0f} s of audio were decoded and searched for speech when the first "
        f"segment was done; {last.done_s:.0f} s were done when all {last.decoded_s:.0f} s were"
    )
    return last.is_decoded and first.decoded_s < last.decoded_s


async def until_decoded(request: LongRequest) -> list[Moment]:
    """Return what the progress said until all audio was decoded and searched for speech."""
    moments: list[Moment] = []
    async with aclosing(request.progress()) as progress:
        async for moment in progress:
            moments.append(moment)
            if moment.is_decoded:
                break
    return moments


def thinned(moments: list[Moment]) -> list[Moment]:
    """Return about `TIMELINE_LINES` of the moments, evenly in time, and the last."""
    step_s = moments[-1].at_s / TIMELINE_LINES
    kept = [moments[0]]
    for moment in moments[1:-1]:
        if moment.at_s >= kept[-1].at_s + step_s:
            kept.append(moment)
    return [*kept, moments[-1]]


@dataclass(slots=True)
class Peak:
    """The most that was seen, in bytes."""

    total: int = 0
    anonymous: int = 0
    spool: int = 0

    def look(self, server: ServerProcess, spool: Path) -> None:
        """Look at the router and its media workers once."""
        router = psutil.Process(server.pid)
        ours = [router, *(child for child in router.children() if is_media_worker(child))]
        self.total = max(self.total, memory_bytes(ours))
        self.anonymous = max(self.anonymous, memory_bytes(ours, "Pss_Anon"))
        self.spool = max(self.spool, sum(path.stat().st_size for path in spool.rglob("*.f32")))


def is_media_worker(process: psutil.Process) -> bool:
    """Tell a media worker from an engine."""
    return "whisper_router.audio.media_worker" in process.cmdline()


@asynccontextmanager
async def watched(server: ServerProcess, spool: Path) -> AsyncIterator[Peak]:
    """Look again and again until the block ends."""
    peak = Peak()

    async def watch() -> None:
        while True:
            peak.look(server, spool)
            await asyncio.sleep(SAMPLE_S)

    watching = begun(watch())
    try:
        yield peak
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def memory(
    http: aiohttp.ClientSession, server: ServerProcess, hours: Path, spool: Path
) -> bool:
    """Print the memory of router and media workers while a file of hours is decoded, and after."""
    before = Peak()
    before.look(server, spool)
    async with long_request(http, hours, name="memory") as request:
        async with watched(server, spool) as during:
            decoded = (await until_decoded(request))[-1]
        async with watched(server, spool) as after:
            await asyncio.sleep(AFTERWARDS_S)
    print(
        f"\n{hours.stat().st_size / MIB:.0f} MiB of MP3, {decoded.decoded_s / 3600:.1f} h, decoded "
        f"in {decoded.at_s:.0f} s to {during.spool / MIB:.0f} MiB of samples in {filesystem(spool)}"
    )
    print(f"{'router and media workers':28} {'PSS':>9} {'anonymous':>10} {'limit':>9}")
    peaks = {"before": before, "while it is decoded": during, "afterwards": after}
    for name, peak in peaks.items():
        print(
            f"{name:28} {peak.total / MIB:5.0f} MiB {peak.anonymous / MIB:6.0f} MiB "
            f"{MAX_MEMORY_MIB:5} MiB"
        )
    return decoded.is_decoded and max(during.total, after.total) <= MAX_MEMORY_MIB * MIB


def filesystem(path: Path) -> str:
    """Return the type of the file system that `path` is in."""
    mounts = [m for m in psutil.disk_partitions(all=True) if path.is_relative_to(m.mountpoint)]
    return max(mounts, key=lambda mount: len(mount.mountpoint)).fstype


if __name__ == "__main__":
    sys.exit(main())
