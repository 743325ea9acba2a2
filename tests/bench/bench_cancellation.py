"""How long after its client went away nothing is left of a request, at every stage.

Usage: bench_cancellation.py [--rounds N]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.client import ask, session
from support.leaving import CLIP, STAGES, Scene, busy
from support.server import running_server

CONFIG = 'default_model = "demo"\n'
WIDTHS = (14, 9, 9, 12, 12)
LIMIT_MS = 100.0


def main() -> int:
    """Print the table; 1 when a stage's median is over the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        slowest_ms = asyncio.run(measure(Path(name), arguments.rounds))
    print(f"\nslowest p50: {slowest_ms:.0f} ms (limit {LIMIT_MS:.0f} ms)")
    return 0 if slowest_ms <= LIMIT_MS else 1


async def measure(directory: Path, rounds: int) -> float:
    """Leave in every stage, `rounds` times each; return the slowest stage's median."""
    slowest_ms = 0.0
    with running_server(directory, config=CONFIG) as server:
        async with session() as http:
            scene = Scene(server=server, http=http, directory=directory)
            await ask(http, server.url, CLIP)
            alone = [await clip_ms(scene) for _ in range(rounds)]
            print("one worker; ms after the client went away\n")
            print_row("left while", "free p50", "max", "a clip p50", "max")
            print_row("(no request)", "", "", *shown(alone))
            for stage in STAGES:
                results = [await leave(scene, stage, f"{stage}-{n}") for n in range(rounds)]
                free, clip = zip(*results, strict=True)
                slowest_ms = max(slowest_ms, statistics.median(free))
                print_row(stage, *shown(free), *shown(clip if stage != "waiting" else ()))
    return slowest_ms


async def leave(scene: Scene, stage: str, request_id: str) -> tuple[float, float]:
    """Return after how many ms all is free again, and after how many a clip was answered.

    The clip is sent when all is free: it would wait where something still computes.
    """
    async with busy(scene) if stage == "waiting" else nullcontext():
        before = await scene.used()
        async with STAGES[stage](scene, request_id) as go:
            began = time.perf_counter()
            go()
            await scene.until_used(before)
            free_ms = (time.perf_counter() - began) * 1000
        if stage != "waiting":
            await clip_ms(scene)
        answered_ms = (time.perf_counter() - began) * 1000
    await scene.until_used((0, 0, []))
    return free_ms, answered_ms


async def clip_ms(scene: Scene) -> float:
    """Return how long a clip of two words takes."""
    began = time.perf_counter()
    status, _ = await ask(scene.http, scene.url, CLIP)
    assert status == 200
    return (time.perf_counter() - began) * 1000


def shown(values: Sequence[float]) -> tuple[str, str]:
    """Return median and maximum; nothing of nothing."""
    if not values:
        return "", ""
    return f"{statistics.median(values):.0f}", f"{max(values):.0f}"


def print_row(*cells: str) -> None:
    """Print cells in columns."""
    first, *rest = zip(cells, WIDTHS, strict=True)
    print(f"{first[0]:{first[1]}}" + "".join(f"{cell:>{width}}" for cell, width in rest))


if __name__ == "__main__":
    sys.exit(main())
