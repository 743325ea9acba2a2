"""A short clip beside a long file on one worker: what it waits, and who gets how much.

Usage: bench_fairness.py [--clips N] [--seconds N]
"""

import argparse
import asyncio
import io
import statistics
import sys
import tempfile
import time
import wave
from collections import Counter
from importlib.resources import files
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.client import ask, session
from support.server import ServerProcess, running_server
from whisper_router.api.keys import hash_key

DEMO = Path(str(files("whisper_router_engines.whispercpp") / "demo" / "samples"))
LONG, CLIP = DEMO / "en_two_speakers_long.wav", DEMO / "en_three_segments.wav"
KEYS = 10


def main() -> int:
    """Print both tables; 1 when a target is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=40.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        good = asyncio.run(waiting(Path(name), arguments.clips))
    with tempfile.TemporaryDirectory() as name:
        return 0 if asyncio.run(shares(Path(name), arguments.seconds)) and good else 1


async def waiting(directory: Path, clips: int) -> bool:
    """Measure the clip alone, then beside a 20 min file; print what it waits in chunk times."""
    long_wav = repeated(directory / "long.wav", 20)
    with running_server(directory, config='default_model = "demo"\n') as server:
        async with session() as http:
            await ask(http, server.url, CLIP)
            alone = [await timed_ms(http, server) for _ in range(clips)]
            file = asyncio.get_running_loop().create_task(
                ask(http, server.url, long_wav, context="false")
            )
            await busy(http, server)
            beside = []
            while len(beside) < clips and not file.done():
                beside.append(await timed_ms(http, server))
            chunk_ms = await one_chunk_ms(http, server, file)
    limit_ms = statistics.median(alone) + 1.2 * chunk_ms
    worst = max(beside)
    print(f"{'clip of 7 s, one worker':42} {'p50':>8} {'max':>8}")
    print(f"{'alone, ms':42} {statistics.median(alone):8.0f} {max(alone):8.0f}")
    print(f"{'beside a 20 min file, ms':42} {statistics.median(beside):8.0f} {worst:8.0f}")
    print(f"{'one chunk of the file, ms':42} {chunk_ms:8.0f}")
    print(f"{'limit: alone p50 + 1.2 chunks, ms':42} {limit_ms:8.0f}")
    return statistics.median(beside) <= limit_ms


async def timed_ms(http: aiohttp.ClientSession, server: ServerProcess) -> float:
    """Return how long the clip takes."""
    began = time.perf_counter()
    status, answer = await ask(http, server.url, CLIP)
    assert status == 200, answer
    return (time.perf_counter() - began) * 1000


async def busy(http: aiohttp.ClientSession, server: ServerProcess) -> None:
    """Return once a chunk of the long file runs."""
    while True:
        async with http.get(f"{server.url}/v1/queue") as response:
            if (await response.json()).get("demo", {}).get("running"):
                return
        await asyncio.sleep(0.05)


async def one_chunk_ms(http: aiohttp.ClientSession, server: ServerProcess, file) -> float:
    """Return the mean time of the long file's chunks while nothing else runs."""
    if file.done():
        raise SystemExit("the long file ended too early: fewer --clips, please")
    file.cancel()
    await asyncio.wait({file})
    began = time.perf_counter()
    status, _ = await ask(http, server.url, LONG, context="false")
    assert status == 200
    return (time.perf_counter() - began) * 1000 / 2  # a minute with pauses is two chunks


async def shares(directory: Path, seconds: float) -> bool:
    """Let ten keys load one worker differently; print the share of the work each one got."""
    names = [f"key{number}" for number in range(KEYS)]
    (directory / "keys.toml").write_text(
        "".join(f'[keys.{name}]\nhash = "{hash_key(name)}"\n' for name in names)
    )
    config = f'default_model = "demo"\n[auth]\nkeys_file = "{directory}/keys.toml"\n'
    work: Counter[str] = Counter()
    with running_server(directory, config=config) as server:
        async with asyncio.TaskGroup() as group:
            end = time.monotonic() + seconds
            for number, name in enumerate(names):
                for _ in range(1 + number % 4):  # one to four requests at a time
                    group.create_task(load(server, name, CLIP, work, end))
    fair = sum(work.values()) / KEYS
    print(f"\n{'key':8} {'at once':>8} {'clips':>8} {'of its fair share':>18}")
    for number, name in enumerate(names):
        print(f"{name:8} {1 + number % 4:8} {work[name]:8} {work[name] / fair:18.2f}")
    lowest = min(work[name] for name in names) / fair
    print(f"lowest share: {lowest:.2f} (limit 0.80)")
    return lowest >= 0.8


async def load(server: ServerProcess, key: str, path: Path, work: Counter[str], end: float) -> None:
    """Send the clip again and again until the time is over, counting the answers."""
    headers = {"Authorization": f"Bearer {key}"}
    body = path.read_bytes()
    async with aiohttp.ClientSession(headers=headers) as http:
        while time.monotonic() < end:
            form = aiohttp.FormData({"model": "demo"})
            form.add_field("file", io.BytesIO(body), filename="clip.wav")
            async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response:
                assert response.status == 200, await response.text()
                await response.read()
            if time.monotonic() < end:
                work[key] += 1


def repeated(target: Path, times: int) -> Path:
    """Write the long sample several times over."""
    with wave.open(str(LONG), "rb") as source, wave.open(str(target), "wb") as out:
        out.setparams(source.getparams())
        frames = source.readframes(source.getnframes())
        for _ in range(times):
            out.writeframes(frames)
    return target


if __name__ == "__main__":
    sys.exit(main())
