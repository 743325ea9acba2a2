"""Requests per second and latency beside whisper.cpp's own whisper-server, in one run.

    python tests/bench/bench_throughput.py [--models phonebook base] [--levels 1 4 16] [--rounds N]
        [--minutes N] [--layouts 2 default 2x1] [--build avx2|native] [--python PATH]

Both get the same model file, the same clips of 5 s, the same threads in total and the same decoding
options (greedy, no fallback to other temperatures, no text carried on, language en, times of
segments but not of words), and are built from the same source for the same processor features,
which is checked. The sides take turns in every round, so that other load falls on all alike.

A layout is WORKERS or WORKERSxTHREADS of our engine; without THREADS those who compute share the
cores. `default` is an alias without options. The first layout, with voice activity detection, is
the one that whisper-server may not be faster than. The base model has random weights and says the
same 20 words in every window. Each request has a connection of its own: on a kept one
whisper-server's answers take 40 ms more, as it leaves Nagle's algorithm on.
"""

import argparse
import asyncio
import contextlib
import io
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.load import OtherLoad
from support.server import running_server
from support.speech import DEMO_MODEL, sample
from support.whisper_server import built, running_whisper_server
from support.whispercpp_ggml import as_f16, random_model, read, reciting
from whisper_router_engines.whispercpp.cores import physical_cores

LIMIT = 1.0
SPEECH = sample("en_two_speakers_long")
SPEECH_SAMPLES = SPEECH.path.read_bytes()[44:]  # 16-bit, 16 kHz, mono
RATE_HZ = 16_000
CLIP_S = 5.0
PER_CLIENT = {1: 4, 4: 2}
"""Requests of each client in a round; one at other levels."""
TIMEOUT_S = 3600.0
WORKER = "whisper_router_engines.whispercpp.worker"
OUR_CONFIG = """default_model = "bench"
[supervision]
idle_unload_s = 0
[models.bench]
temperature_increment = 0.0
max_context_tokens = 0
"""
OUR_FIELDS = {"model": "bench", "language": "en", "context": "false"}
THEIR_FIELDS = {
    "language": "en",
    "temperature_inc": "0",
    "max_context": "0",
    "best_of": "5",
    "token_timestamps": "false",
}


@dataclass(frozen=True, kw_only=True)
class Side:
    """A server and how it is asked.

    `features` tells, once it has answered, which processor features its engine was built for.
    """

    name: str
    url: str
    fields: dict[str, str]
    features: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Load:
    """What one side did in one round."""

    per_s: float
    latencies_s: Sequence[float]


def main() -> int:
    """Print the tables; 1 when whisper-server was faster anywhere, or heard something else."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["phonebook", "base"])
    parser.add_argument("--levels", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=int, default=2, help="length of the file; 0: none")
    parser.add_argument("--layouts", nargs="+", default=[str(physical_cores()), "default"])
    parser.add_argument("--build", choices=["avx2", "native"], default="avx2")
    parser.add_argument("--python", default=sys.executable, help="of the environment of our side")
    arguments = parser.parse_args()
    program = built(arguments.build)
    print(f"{os.cpu_count()} CPUs, {physical_cores()} threads for each side, {arguments.build}")
    good = True
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
            sides = list(start(stack, arguments, program, model_file(name, Path(folder))))
            others = OtherLoad()
            good &= asyncio.run(measure(name, sides, arguments))
            print(f"\nother programs used {others.cores():.2f} cores meanwhile")
    return 0 if good else 1


def model_file(name: str, folder: Path) -> Path:
    """Return the bundled model, or one of random weights in the shape of whisper's `base`."""
    if name == "phonebook":
        return DEMO_MODEL
    template = as_f16(read(DEMO_MODEL))
    words = [n for n, t in enumerate(template.vocabulary) if re.fullmatch(rb" [a-z]{4,}", t)]
    random = random_model(template, width=512, layers=6, ends_at_once=False)
    return reciting(random, words[:20]).write(folder / "ggml-random-base.bin")


def start(
    stack: contextlib.ExitStack, arguments: argparse.Namespace, program: Path, model: Path
) -> Iterator[Side]:
    """Start every server; yield whisper-server last."""
    features = features_of(arguments.python)
    for layout in arguments.layouts:
        config = f"{OUR_CONFIG}path = {json.dumps(str(model))}\n"
        if layout != "default":
            workers, _, threads = layout.partition("x")
            config += f"workers = {workers}\nthreads = {threads or 0}\n"
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = running_server(folder, config=config, python=arguments.python)
        url = stack.enter_context(ours).url + "/v1/audio/transcriptions"
        for vad in ("true", "false") if layout == arguments.layouts[0] else ("true",):
            yield Side(
                name=f"ours, {layout}" + ("" if vad == "true" else ", vad=false"),
                url=url,
                fields=OUR_FIELDS | {"vad": vad},
                features=lambda: features,
            )
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    theirs = stack.enter_context(
        running_whisper_server(program, model, folder, threads=physical_cores())
    )
    yield Side(
        name="whisper-server",
        url=f"{theirs.url}/inference",
        fields=THEIR_FIELDS,
        features=theirs.features,
    )


def features_of(python: str) -> str:
    """Return what the environment's whisper.cpp was built for."""
    probe = subprocess.run(
        [python, "-m", WORKER, "--probe"], stdout=subprocess.PIPE, timeout=60, check=True
    )
    return json.loads(probe.stdout)["system_info"]


async def measure(name: str, sides: Sequence[Side], arguments: argparse.Namespace) -> bool:
    """Print the tables of one model; return whether all is as it should be."""
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        good = await same_words(http, name, sides)
        print(f"\n| {name}, at once | server | requests/s | p95, ms | ratio |")
        print("|---|---|---|---|---|")
        for level in arguments.levels:
            rounds = [await one_round(http, sides, level, n) for n in range(arguments.rounds)]
            good &= table(level, sides, rounds)
        if arguments.minutes:
            good &= await long_file(http, name, sides, arguments.minutes)
    return good


async def same_words(http: aiohttp.ClientSession, name: str, sides: Sequence[Side]) -> bool:
    """Ask each side for each clip once, which also warms them up, and compare what they heard."""
    good = True
    for number, clip in enumerate(clips()):
        heard = [(await ask(http, side, clip)).split() for side in sides]
        for side, words in zip(sides, heard, strict=True):
            if words != heard[-1]:
                print(f"{name}, clip {number}: {side.name} hears {words}, not {heard[-1]}")
                good = False
    features = {side.features() for side in sides}
    if len(features) > 1:
        raise SystemExit(f"built for different processors: {features}")
    return good


async def one_round(
    http: aiohttp.ClientSession, sides: Sequence[Side], level: int, number: int
) -> list[Load]:
    """Load each side in turn, another one first each time; return them in the order of `sides`."""
    first = number % len(sides)
    loads = {}
    for side in [*sides[first:], *sides[:first]]:
        loads[side.name] = await load(http, side, level)
    return [loads[side.name] for side in sides]


async def load(http: aiohttp.ClientSession, side: Side, level: int) -> Load:
    """Have `level` clients send one clip after the other."""
    audio = clips()
    numbers = iter(range(level * PER_CLIENT.get(level, 1)))
    latencies: list[float] = []

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            await ask(http, side, audio[number % len(audio)])
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(level):
            group.create_task(client())
    return Load(per_s=len(latencies) / (time.perf_counter() - began), latencies_s=latencies)


async def ask(http: aiohttp.ClientSession, side: Side, audio: bytes) -> str:
    """Return what is heard in a WAV file."""
    form = aiohttp.FormData(side.fields)
    form.add_field("file", io.BytesIO(audio), filename="clip.wav")
    async with http.post(side.url, data=form) as response:
        answer = await response.json()
        assert response.status == 200, answer
        return answer["text"]


def table(level: int, sides: Sequence[Side], rounds: Sequence[Sequence[Load]]) -> bool:
    """Print one line for each side; return whether whisper-server was no faster than the first.

    The ratio is the median of the rounds': both were measured moments apart.
    """
    ratios = []
    for at, side in enumerate(sides):
        per_s = statistics.median(loads[at].per_s for loads in rounds)
        latencies = sorted(latency for loads in rounds for latency in loads[at].latencies_s)
        p95_ms = 1000 * latencies[math.ceil(0.95 * len(latencies)) - 1]
        ratios.append(statistics.median(loads[at].per_s / loads[-1].per_s for loads in rounds))
        print(f"| {level} | {side.name} | {per_s:.2f} | {p95_ms:.0f} | {floor2(ratios[-1])} |")
    return ratios[0] >= LIMIT


def floor2(ratio: float) -> str:
    """Return the ratio with two digits, never rounded up."""
    return f"{int(100 * ratio) / 100:.2f}"


async def long_file(
    http: aiohttp.ClientSession, name: str, sides: Sequence[Side], minutes: int
) -> bool:
    """Have each side transcribe one long file; print how long it takes."""
    audio = wav(SPEECH_SAMPLES * minutes)
    seconds = len(SPEECH_SAMPLES) * minutes / 2 / RATE_HZ
    rows = []
    for side in sides:
        began = time.perf_counter()
        heard = (await ask(http, side, audio)).split()
        rows.append((side.name, time.perf_counter() - began, heard))
    print(f"\n| {name}, file of {seconds / 60:.1f} min | time, s | RTF | ratio | words |")
    print("|---|---|---|---|---|")
    for what, took_s, heard in rows:
        ratio = floor2(rows[-1][1] / took_s)
        words = f"{len(heard)}"
        if name == "phonebook":
            words += f", {right(heard, SPEECH.text.split() * minutes)}"
        print(f"| {what} | {took_s:.1f} | {took_s / seconds:.4f} | {ratio} | {words} |")
    return rows[-1][1] / rows[0][1] >= LIMIT


def right(heard: Sequence[str], said: Sequence[str]) -> str:
    """Return how many of the words that were said are heard, in their order.

    The longest common subsequence, one bit for each word (Hyyrö 2004): difflib's is not the longest
    where a text repeats itself.
    """
    ones = (1 << len(said)) - 1
    rest = ones
    for word in heard:
        same = rest & sum(1 << at for at, other in enumerate(said) if other == word)
        rest = ((rest + same) | (rest - same)) & ones
    return f"{len(said) - rest.bit_count()} of {len(said)} right"


def clips() -> list[bytes]:
    """Return the stretches of 5 s of the long sample that begin in a pause and cut no phrase."""
    found, end_s = [], 0.0
    for start_s, _, _ in SPEECH.segments:
        begin_s = start_s - 0.2
        edges = (begin_s, begin_s + CLIP_S)
        if begin_s >= end_s and not any(a < at < b for a, b, _ in SPEECH.segments for at in edges):
            end_s = begin_s + CLIP_S
            first, last = (2 * int(at * RATE_HZ) for at in edges)
            found.append(wav(SPEECH_SAMPLES[first:last]))
    return found


def wav(samples: bytes) -> bytes:
    """Return a WAV file of 16-bit samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
