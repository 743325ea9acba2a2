"""How long a media worker takes to decode, and to find speech.

python tests/bench/bench_media.py [RUNS]
"""

import asyncio
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.audio_files import SAMPLES, ffmpeg, floats_of, wav
from whisper_router.audio.media import MediaLimits, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.tasks import Tasks

SPEECH = SAMPLES / "en_two_speakers_long.wav"


def make_sources(folder: Path) -> dict[str, Path]:
    """10 s and 60 s of speech as WAV, 600 s as MP3, and what phones and browsers send."""
    samples = floats_of(SPEECH)
    sources = {}
    for seconds in (10, 60):
        path = sources[f"{seconds} s WAV 16 kHz"] = folder / f"{seconds}.wav"
        path.write_bytes(wav(samples[: seconds * 16_000], 16_000))
    ten = folder / "10.wav"
    for name, file, options in (
        ("10 s WAV 44.1 kHz stereo", "stereo.wav", ["-ar", "44100", "-ac", "2"]),
        ("10 s WebM Opus", "browser.webm", []),
        ("10 s M4A AAC", "phone.m4a", []),
    ):
        sources[name] = folder / file
        ffmpeg("-i", ten, *options, folder / file)
    sources["600 s MP3"] = folder / "long.mp3"
    ffmpeg("-stream_loop", "9", "-i", folder / "60.wav", folder / "long.mp3")
    return sources


async def measure(pool: MediaPool, source: Path, target: Path, runs: int) -> tuple[float, ...]:
    """The audio's length, and the median times in seconds without and with VAD."""
    medians = []
    duration_s = 0.0
    for vad in (None, VadOptions()):
        times = []
        for _ in range(runs):
            began = time.perf_counter()
            duration_s = (await pool.prepare(source, target, vad=vad)).duration_s
            times.append(time.perf_counter() - began)
        medians.append(statistics.median(times))
    return duration_s, *medians


async def main(runs: int) -> None:
    """Print the table."""
    tasks = Tasks()
    pool = MediaPool(workers=1, limits=MediaLimits(), tasks=tasks)
    began = time.perf_counter()
    await pool.start()
    await pool.ready()
    ready_s = time.perf_counter() - began
    print(f"{platform.machine()}, {psutil.cpu_count()} CPUs, load {psutil.getloadavg()[0]:.1f}")
    print(f"first worker ready after {ready_s:.2f} s; medians of {runs} runs\n")
    print(
        f"{'source':<26} {'decode':>10} {'of real time':>13} {'with VAD':>10} {'of real time':>13}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, path in make_sources(folder).items():
            length_s, plain_s, vad_s = await measure(pool, path, folder / "out", runs)
            print(
                f"{source:<26} {plain_s * 1e3:>7.1f} ms {plain_s / length_s:>12.3%} "
                f"{vad_s * 1e3:>7.1f} ms {vad_s / length_s:>12.3%}"
            )
    memory = psutil.Process(pool.pids[0]).memory_full_info()
    print(f"\nworker: {memory.rss >> 20} MiB resident, {memory.uss >> 20} MiB of its own")
    await pool.close()
    await tasks.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7))
