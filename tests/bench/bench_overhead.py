"""What the router adds to the engine: latency, memory, start.

A real server and, beside it, a worker of the same engine that is asked directly; both take turns,
because such machines are noisy. Usage: bench_overhead.py [--requests N] [--upload-mib N]
"""

import argparse
import asyncio
import io
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import aiohttp
import av
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.server import ServerProcess, environment, running_server
from whisper_router.domain import Chunk, Segment, TranscriptionRequest
from whisper_router.testing.harness import running
from whisper_router_engines.whispercpp.engine import WhisperCpp

DEMO = Path(str(files("whisper_router_engines.whispercpp") / "demo"))
MIB = 1 << 20
CONFIG = 'default_model = "demo"\n[supervision]\nidle_unload_s = 0\n'


def main() -> int:
    """Print the tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--upload-mib", type=int, default=500)
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.requests, arguments.upload_mib))
    print(f"machine: {platform.machine()}, {psutil.cpu_count()} cores, {platform.system()}")
    print(f"{'what':58} {'measured':>10} {'target':>8}")
    for what, measured, target, unit in rows:
        print(f"{what:58} {measured:7.1f} {unit:3} {target:5.0f} {unit}")
    return 1 if any(measured > target for _, measured, target, _ in rows) else 0


async def measure(requests: int, upload_mib: int) -> list[tuple[str, float, float, str]]:
    """Return (what, measured, target, unit) for every figure."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        wav, samples = ten_seconds(directory)
        rows = [
            ("start to the first /health answer, median of 5", start_ms(directory), 1000.0, "ms")
        ]
        with running_server(directory, config=CONFIG) as server:
            with_vad, without = await overhead_ms(server, wav, samples)
            rows.append(("p50 of (HTTP minus engine), 10 s WAV, VAD on", with_vad, 60.0, "ms"))
            rows.append(("p50 of (HTTP minus engine), 10 s WAV, VAD off", without, 15.0, "ms"))
            early, late = await memory_mib(server, wav, requests)
            rows.append((f"router memory after {requests} requests", late, 120.0, "MiB"))
            rows.append((f"... growth from request {requests // 4} on", late - early, 2.0, "MiB"))
            grown = await upload_growth_mib(server, upload_mib)
            rows.append((f"router memory added by a {upload_mib} MiB upload", grown, 32.0, "MiB"))
    return rows


def ten_seconds(directory: Path) -> tuple[Path, Path]:
    """Return a 10 s WAV of speech, and the same as raw float32 samples."""
    with av.open(str(DEMO / "samples" / "en_two_speakers_long.wav")) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    audio = np.concatenate(frames, axis=1)[0, : 16_000 * 10].astype(np.int16)
    wav, raw = directory / "ten.wav", directory / "ten.f32"
    wav.write_bytes(wav_header(audio.nbytes) + audio.tobytes())
    (audio.astype(np.float32) / 32768).tofile(raw)
    return wav, raw


def wav_header(data_bytes: int) -> bytes:
    """Return the header of a 16 kHz mono 16-bit WAV file."""
    form = struct.pack("<HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + data_bytes)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", data_bytes)
    )


def start_ms(directory: Path) -> float:
    """Return the median time from starting `serve` to a good answer of /health."""
    times = []
    for number in range(5):
        port = 18_700 + number
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "whisper_router.cli", "serve", "--port", str(port)],
            env=environment(directory),
            cwd=directory,
            stderr=subprocess.DEVNULL,
        )
        try:
            while time.perf_counter() - began < 20:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except urllib.error.URLError:
                    time.sleep(0.005)
            times.append((time.perf_counter() - began) * 1000)
        finally:
            process.terminate()
            process.wait(30)
    return statistics.median(times)


async def overhead_ms(server: ServerProcess, wav: Path, raw: Path) -> tuple[float, float]:
    """Return the p50 of HTTP time minus engine time, with and without VAD."""
    http_vad, http_plain, engine = [], [], []
    body = wav.read_bytes()
    source = WhisperCpp()
    options = source.Options()
    model = source.bundled_models()["demo"]
    async with running(source, model, options) as direct, aiohttp.ClientSession() as http:
        for number in range(34):
            one = [
                await timed(ask(http, server.url, body, vad="true")),
                await timed(ask(http, server.url, body, vad="false")),
                await timed(ask_engine(source, direct, raw)),
            ]
            if number >= 4:
                for times, value in zip((http_vad, http_plain, engine), one, strict=True):
                    times.append(value)
    print(f"engine's own p50 for the 10 s: {statistics.median(engine):.1f} ms (30 rounds)")
    return difference_ms(http_vad, engine), difference_ms(http_plain, engine)


def difference_ms(whole: list[float], part: list[float]) -> float:
    """Return the median of the differences of each round: both were measured moments apart."""
    return statistics.median(a - b for a, b in zip(whole, part, strict=True))


async def timed(work) -> float:
    """Return how long `work` took, in milliseconds."""
    began = time.perf_counter()
    await work
    return (time.perf_counter() - began) * 1000


async def ask(http: aiohttp.ClientSession, url: str, body: bytes, **fields: str) -> str:
    """Send one request and return its text."""
    form = aiohttp.FormData({"model": "whisper-1", **fields})
    form.add_field("file", io.BytesIO(body), filename="ten.wav")
    async with http.post(f"{url}/v1/audio/transcriptions", data=form) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return answer["text"]


async def ask_engine(engine: WhisperCpp, direct, raw: Path) -> str:
    """Run the same audio on the engine, without the router."""
    chunk = Chunk(path=raw, start=0, end=raw.stat().st_size // 4)
    request = TranscriptionRequest(model="demo")
    events = engine.transcribe(direct.http, direct.endpoint, chunk, request)
    return "".join([event.text async for event in events if isinstance(event, Segment)])


async def memory_mib(server: ServerProcess, wav: Path, requests: int) -> tuple[float, float]:
    """Return the router's resident memory after a quarter of the requests, and after all."""
    body, early = wav.read_bytes(), 0.0
    async with aiohttp.ClientSession() as http:
        for number in range(requests):
            await ask(http, server.url, body)
            if number == requests // 4:
                early = resident_mib(server)
    return early, resident_mib(server)


def resident_mib(server: ServerProcess) -> float:
    """Return the resident memory of the router process itself."""
    return psutil.Process(server.pid).memory_info().rss / MIB


async def upload_growth_mib(server: ServerProcess, mib: int) -> float:
    """Return by how much the router's memory grows at most during one large upload."""
    before = peak = resident_mib(server)
    finished = asyncio.Event()

    async def watch() -> None:
        nonlocal peak
        while not finished.is_set():
            peak = max(peak, resident_mib(server))
            await asyncio.sleep(0.02)

    async def silence() -> AsyncIterator[bytes]:
        yield wav_header(mib * MIB)
        block = bytes(MIB)
        for _ in range(mib):
            yield block

    form = aiohttp.FormData({"model": "demo"})
    form.add_field("file", silence(), filename="silence.wav")
    timeout = aiohttp.ClientTimeout(total=600)
    async with asyncio.TaskGroup() as group, aiohttp.ClientSession(timeout=timeout) as http:
        group.create_task(watch())
        async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response:
            assert response.status == 200, await response.text()
            assert (await response.json())["text"] == ""
        finished.set()
    return peak - before


if __name__ == "__main__":
    sys.exit(main())
