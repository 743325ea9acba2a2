"""Memory of pre-forked workers beside separate processes, and how fast a lost one is back.

    python tests/bench/bench_prefork_memory.py

The weights are random, of the size and shape of whisper's `base` in f16 (148 MB); memory does not
depend on what they say. Both sides run on the same machine, one after the other.
"""

import asyncio
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.speech import DEMO_MODEL, sample
from support.whispercpp_ggml import as_f16, random_model, read
from support.whispercpp_memory import forked, pss_bytes, separate, use_every_worker
from whisper_router.domain import Chunk
from whisper_router.testing.harness import Running, write_spool

WORKERS = 4
KILLS = 20
LIMIT_RATIO = 0.6
LIMIT_BACK_S = 0.1
MIB = 1024 * 1024


async def memory(
    start: AbstractAsyncContextManager[list[Running]], chunk: Chunk
) -> tuple[float, float, float]:
    """Return (start in seconds, idle MiB, MiB after each worker ran a chunk)."""
    begin = time.monotonic()
    async with start as processes:
        took_s = time.monotonic() - begin
        idle = pss_bytes(processes)
        await use_every_worker(processes, chunk, WORKERS)
        return took_s, idle / MIB, pss_bytes(processes) / MIB


async def back_after_kill(model: Path) -> list[float]:
    """Kill a worker again and again; return how long each time until another is there."""
    took = []
    async with forked(model, WORKERS) as (process,):
        parent = psutil.Process(process.process.pid)
        for _ in range(KILLS):
            before = {child.pid for child in parent.children()}
            begin = time.monotonic()
            os.kill(max(before), signal.SIGKILL)
            while not {child.pid for child in parent.children()} - before:
                pass
            took.append(time.monotonic() - begin)
    return took


async def main() -> int:
    """Print the table; return 1 when a limit is missed."""
    with tempfile.TemporaryDirectory() as folder:
        template = as_f16(read(DEMO_MODEL))
        model = random_model(template, width=512, layers=6, ends_at_once=True).write(
            Path(folder) / "ggml-random-base.bin"
        )
        chunk = write_spool(sample("en_call_sign").path, Path(folder) / "speech.f32")
        shared = await memory(forked(model, WORKERS), chunk)
        alone = await memory(separate(model, WORKERS), chunk)
        took = await back_after_kill(model)
        size_mb = model.stat().st_size / 1e6
    idle, used = shared[1] / alone[1], shared[2] / alone[2]
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}")
    print(f"random weights of base's shape, f16, {size_mb:.0f} MB; {WORKERS} workers, PSS in MiB\n")
    print("|                        | pre-forked | separate | ratio |")
    print("|------------------------|-----------:|---------:|------:|")
    print(f"| start one by one, s     | {shared[0]:10.2f} | {alone[0]:8.2f} |       |")
    print(f"| idle                   | {shared[1]:10.0f} | {alone[1]:8.0f} | {idle:5.2f} |")
    print(f"| every worker ran once  | {shared[2]:10.0f} | {alone[2]:8.0f} | {used:5.2f} |")
    print(f"\na killed worker is back after: p50 {statistics.median(took) * 1e3:.1f} ms, "
          f"max {max(took) * 1e3:.1f} ms of {KILLS}")  # fmt: skip
    return 0 if used <= LIMIT_RATIO and statistics.median(took) <= LIMIT_BACK_S else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
