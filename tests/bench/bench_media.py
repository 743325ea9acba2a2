"""How long a media worker takes to decode, and to find speech.

python tests/bench/bench_media.py [RUNS]
"""

import asyncio
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.audio_files import SAMPLES, ffmpeg, floats_of, wav
from support.usage import cpu_s
from whisper_router.audio.media import MediaLimits, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.tasks import Tasks

SPEECH = SAMPLES / "en_two_speakers_long.wav"
MAX_VAD = 0.005
"""Of real time on one core."""


def make_sources(folder: Path) -> dict[str, Path]:
    """10 and 60 s of speech as WAV, 10 and 60 min as MP3, and what phones and browsers send."""
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
    for name, times in (("600 s MP3", 10), ("60 min MP3", 60)):
        path = sources[name] = folder / f"{times}.mp3"
        ffmpeg("-stream_loop", str(times - 1), "-i", folder / "60.wav", path)
    return sources


@dataclass(slots=True)
class Cost:
    """Wall clock and CPU time of each run, in seconds."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Row:
    """One file: its length, and what it costs without and with the search for speech."""

    duration_s: float = 0.0
    plain: Cost = field(default_factory=Cost)
    vad: Cost = field(default_factory=Cost)

    @property
    def vad_cpu_s(self) -> float:
        """What the search alone costs. Means: the system counts CPU time in steps of 10 ms."""
        return statistics.mean(self.vad.cpu_s) - statistics.mean(self.plain.cpu_s)


async def measure(pool: MediaPool, source: Path, target: Path, runs: int) -> Row:
    """Prepare a file with and without VAD in turn."""
    row, worker = Row(), psutil.Process(pool.pids[0])
    for _ in range(runs):
        for cost, vad in ((row.plain, None), (row.vad, VadOptions())):
            used_s, began_s = cpu_s([worker]), time.perf_counter()
            row.duration_s = (await pool.prepare(source, target, vad=vad)).duration_s
            cost.wall_s.append(time.perf_counter() - began_s)
            cost.cpu_s.append(cpu_s([worker]) - used_s)
    return row


async def main(runs: int) -> int:
    """Print the table; 1 when the search for speech takes too long."""
    tasks = Tasks()
    pool = MediaPool(workers=1, limits=MediaLimits(), tasks=tasks)
    began = time.perf_counter()
    await pool.start()
    await pool.ready()
    ready_s = time.perf_counter() - began
    print(f"{platform.machine()}, {psutil.cpu_count()} CPUs, load {psutil.getloadavg()[0]:.1f}")
    print(f"first worker ready after {ready_s:.2f} s; medians of {runs} runs\n")
    print(
        f"{'source':<26} {'decode':>11} {'of real time':>13} {'with VAD':>11} {'of real time':>13} "
        f"{'VAD, CPU time':>14} {'of real time':>13}"
    )
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, path in make_sources(folder).items():
            row = await measure(pool, path, folder / "out", runs)
            print(f"{source:<26} {' '.join(columns(row))}")
            good &= row.vad_cpu_s <= MAX_VAD * row.duration_s
    memory = psutil.Process(pool.pids[0]).memory_full_info()
    print(f"\nVAD may take {MAX_VAD:.1%} of real time on one core")
    print(f"worker: {memory.rss >> 20} MiB resident, {memory.uss >> 20} MiB of its own")
    await pool.close()
    await tasks.close()
    return 0 if good else 1


def columns(row: Row) -> list[str]:
    """Return the figures of a row."""
    times_s = (
        statistics.median(row.plain.wall_s),
        statistics.median(row.vad.wall_s),
        row.vad_cpu_s,
    )
    return [f"{s * 1e3:>8.1f} ms {s / row.duration_s:>13.3%}" for s in times_s]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)))
