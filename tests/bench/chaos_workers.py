"""Requests while a worker is killed every 300 ms: every one must be answered, and correctly.

Usage: chaos_workers.py [--requests N] [--at-once N] [--workers N] [--every MS] [--seed N]
                        [--files mixed|long]
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.chaos import Answer, Case, answers, killing, state_left
from support.server import ServerProcess, running_server
from support.speech import joined, sample

SHORT = ("en_call_sign", "en_hello_gb", "en_nato_female", "en_digits_fast", "en_three_segments")
OTHER = ("de_digits", "es_digits", "fr_digits", "en_noisy_20db", "stereo_two_speakers_44k")


def main() -> int:
    """Print what happened; 1 when an answer is wrong or something is left over."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--every", type=float, default=300.0, help="ms between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", choices=("mixed", "long"), default="mixed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return 0 if asyncio.run(chaos(Path(name), arguments)) else 1


async def chaos(directory: Path, arguments: argparse.Namespace) -> bool:
    """Hear every file undisturbed, then all requests under fire; print and judge."""
    dice = random.Random(arguments.seed)
    config = (
        f'default_model = "demo"\n[models.demo]\nmodel = "demo"\nworkers = {arguments.workers}\n'
    )
    with running_server(directory, config=config) as server:
        files = recordings(directory)[-1 if arguments.files == "long" else 0 :]
        calm = await answers(server, [Case(path=path) for path in files], at_once=2)
        right = {answer.case.path: answer.text for answer in calm}
        check_calm(calm)
        cases = [
            Case(path=dice.choice(files), stream=dice.random() < 0.5)
            for _ in range(arguments.requests)
        ]
        began_s = time.perf_counter()
        async with killing(server, every_s=arguments.every / 1000, dice=dice) as kills:
            found = await answers(server, cases, at_once=arguments.at_once)
        took_s = time.perf_counter() - began_s
        wrong = [a for a in found if a.problem is not None or a.text != right[a.case.path]]
        left = await state_left(server, workers_wanted=arguments.workers)
        report(found, wrong, kills.done, took_s, server)
    for answer in wrong:
        print(f"WRONG {answer.case} {answer.problem} {answer.text!r}")
    for line in left:
        print(f"LEFT {line}")
    return not wrong and not left


def recordings(directory: Path) -> list[Path]:
    """Return clips of 1 to 10 s and files of two chunks and more."""
    files = [sample(name).path for name in (*SHORT, *OTHER)]
    short = [sample(name).path for name in SHORT]
    files.append(joined(directory / "ten.wav", *short[2:], silence_s=0.3))
    files.append(joined(directory / "two-chunks.wav", *short * 3, silence_s=1.5))
    files.append(sample("en_two_speakers_long").path)
    return files


def check_calm(calm: list[Answer]) -> None:
    """Undisturbed, each is heard."""
    for answer in calm:
        assert answer.problem is None, answer
        assert answer.text, answer


def report(
    found: list[Answer], wrong: list[Answer], kills: int, took_s: float, server: ServerProcess
) -> None:
    """Print the table."""
    events = [line.get("event") for line in server.log]
    times = sorted(answer.took_s for answer in found)
    most = max((int(line["times"]) for line in server.log if "times" in line), default=0)
    print(f"{'requests answered correctly':34} {len(found) - len(wrong):6} of {len(found)}")
    print(f"{'workers killed':34} {kills:6}")
    for event in ("chunk_interrupted", "chunk_lost", "engine_crashed"):
        print(f"{event:34} {events.count(event):6}")
    print(f"{'most interruptions of one chunk':34} {most:6}")
    print(f"{'p50, ms':34} {statistics.median(times) * 1000:6.0f}")
    print(f"{'p95, ms':34} {times[int(len(times) * 0.95)] * 1000:6.0f}")
    print(f"{'longest, ms':34} {times[-1] * 1000:6.0f}")
    print(f"{'all, s':34} {took_s:6.1f}")


if __name__ == "__main__":
    sys.exit(main())
