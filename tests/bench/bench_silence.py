"""Audio without speech gives no text, and silence inside speech costs next to nothing.

A hundred files of silence, noise, machines, telephones and music; then a minute of speech, alone
and with ten minutes of silence or faint noise in the middle.

Usage: bench_silence.py [--rounds N] [--compare]
"""

import argparse
import asyncio
import io
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import not_speech
from support.engine_processes import engine_processes
from support.interrupted import MINUTE, Interruption, displacement_s, write_interrupted
from support.server import ServerProcess, running_server
from support.usage import cpu_s

CONFIG = 'default_model = "demo"\n[supervision]\nidle_unload_s = 0\n'
GROUPS: Mapping[str, Mapping[str, not_speech.File]] = {
    "digital silence": not_speech.SILENT,
    "nearly silent": not_speech.NEARLY_SILENT,
    "noise": not_speech.NOISE,
    "places and machines": not_speech.PLACES,
    "hum, tones, sirens": not_speech.MAINS_AND_TONES,
    "telephone": not_speech.TELEPHONE,
    "music": not_speech.MUSIC,
}
PAUSE_S = 600.0
ALONE, SILENCE = "alone", "10 min of silence inside"
INTERRUPTIONS: Mapping[str, Interruption] = {
    ALONE: Interruption(seconds=0),
    SILENCE: Interruption(seconds=PAUSE_S),
    "10 min of noise at -60 dB inside": Interruption(seconds=PAUSE_S, noise_db=-60),
}
MAX_MOVED_S = 0.2
MAX_COST = 1.2
IDLE_CPU_S = 0.05
"""What the engine's processes may use while only silence is sent; a chunk takes ten times that."""

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of one file: its text, and how many chunks of it an engine was given."""

    name: str
    text: str
    chunks: int


class Client:
    """Sends one file at a time to one server."""

    def __init__(self, http: aiohttp.ClientSession, server: ServerProcess) -> None:
        self.server = server
        self._http, self._sent = http, 0

    async def ask(self, path: Path, **fields: str) -> Answer:
        """Return the transcript of `path`, with words."""
        form = aiohttp.FormData(
            {"model": "demo", "response_format": "verbose_json", "temperature": "0"} | fields
        )
        for stamps in ("word", "segment"):
            form.add_field("timestamp_granularities[]", stamps)
        form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
        url = f"{self.server.url}/v1/audio/transcriptions"
        async with self._http.post(url, data=form) as response:
            answer = await response.json()
        assert response.status == 200, (path.name, answer)
        self._sent += 1
        return answer

    async def heard(self, path: Path, **fields: str) -> Heard:
        """Send a file; the server's log says what of it went to an engine."""
        answer = await self.ask(path, **fields)
        prepared = await asyncio.to_thread(
            self.server.wait_for_log, "audio_prepared", count=self._sent
        )
        return Heard(name=path.stem, text=answer["text"], chunks=prepared["chunks"])

    async def state(self) -> str:
        """Return the state of the model."""
        async with self._http.get(f"{self.server.url}/v1/models/demo") as response:
            return (await response.json())["state"]


async def main() -> int:
    """Print both tables; 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compare", action="store_true", help="count texts without VAD as well")
    arguments = parser.parse_args()
    print(f"machine: {platform.machine()}, {psutil.cpu_count()} cores, {platform.system()}\n")
    timeout = aiohttp.ClientTimeout(total=300)
    with tempfile.TemporaryDirectory() as name, running_server(Path(name), config=CONFIG) as server:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            client = Client(http, server)
            good = await without_speech(client, Path(name))
            if arguments.compare:
                await without_detection(client, Path(name))
            return 0 if await interrupted(client, Path(name), arguments.rounds) and good else 1


async def without_speech(client: Client, folder: Path) -> bool:
    """Send all files to a fresh server; tell whether all is as it must be."""
    print(f"{'files without speech':28} {'files':>6} {'with text':>10} {'engine calls':>13}")
    given_text: list[Heard] = []
    states = {}
    for group, files in GROUPS.items():
        found = [await client.heard(file.write(folder, name)) for name, file in files.items()]
        loud = [heard for heard in found if heard.text]
        given_text += loud
        chunks = sum(heard.chunks for heard in found)
        print(f"{group:28} {len(found):6} {len(loud):10} {chunks:13}")
        states[group] = await client.state(), len(engine_processes(client.server))
    for heard in given_text:
        print(f"  {heard.name}: {heard.text}")
    state, processes = states["digital silence"]
    print(f"after digital silence: model {state}, engine processes: {processes}")
    loaded_s = await silence_beside_an_engine(client, folder)
    print(f"digital silence beside a loaded engine: {loaded_s:.2f} s of the engine's CPU time")
    started = state != "stopped" or processes > 0
    return not given_text and not started and loaded_s <= IDLE_CPU_S


async def silence_beside_an_engine(client: Client, folder: Path) -> float:
    """Return the CPU time of the engine's processes while all silent files are sent once more."""
    await client.ask(MINUTE.path)
    before_s = cpu_s(engine_processes(client.server))
    for name, file in not_speech.SILENT.items():
        await client.ask(file.write(folder, name))
    return cpu_s(engine_processes(client.server)) - before_s


async def without_detection(client: Client, folder: Path) -> None:
    """Print how many of the files give text when no speech is looked for."""
    found = [
        await client.ask(file.write(folder, name), vad="false")
        for name, file in not_speech.NOT_SPEECH.items()
    ]
    print(f"with vad=false: {sum(bool(answer['text']) for answer in found)} of {len(found)}")


@dataclass(slots=True)
class Rounds:
    """What one form of the speech took each time, in seconds, and its answers."""

    wall_s: list[float] = field(default_factory=list)
    engine_s: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


async def interrupted(client: Client, folder: Path, rounds: int) -> bool:
    """Send a minute of speech in each form in turn; tell whether stamps and cost are in limits."""
    paths = {
        name: write_interrupted(folder / f"speech-{number}.wav", interruption)
        for number, (name, interruption) in enumerate(INTERRUPTIONS.items())
    }
    forms = {name: Rounds() for name in paths}
    for _ in range(rounds):
        for name, path in paths.items():
            used_s = cpu_s(engine_processes(client.server))
            began_s = time.perf_counter()
            forms[name].answers.append(await client.ask(path))
            forms[name].wall_s.append(time.perf_counter() - began_s)
            forms[name].engine_s.append(cpu_s(engine_processes(client.server)) - used_s)
    print(
        f"\n{'a minute of speech':34} {'p50':>8} {'of alone':>9} {'engine CPU':>11} "
        f"{'of alone':>9} {'segments moved':>15} {'words moved':>12}"
    )
    return all([judged(name, forms[name], forms[ALONE]) for name in forms])


def judged(name: str, form: Rounds, alone: Rounds) -> bool:
    """Print the row of one form; tell whether it is in its limits.

    Noise has to be listened to, which is not free beside an engine as fast as this one: there only
    the engine's own work is judged. It may also begin a chunk some milliseconds earlier or later,
    which changes the engine's guess where inside a segment its words are: those are only shown.
    """
    wall_s, engine_s = statistics.median(form.wall_s), statistics.median(form.engine_s)
    cost, work = (
        wall_s / statistics.median(alone.wall_s),
        engine_s / statistics.median(alone.engine_s),
    )
    segments_s, words_s = (
        max(
            displacement_s(alone.answers[0][kind], answer[kind], INTERRUPTIONS[name])
            for answer in form.answers
        )
        for kind in ("segments", "words")
    )
    print(
        f"{name:34} {wall_s:6.2f} s {cost:9.2f} {engine_s:9.2f} s {work:9.2f} {segments_s:13.3f} s "
        f"{words_s:10.3f} s"
    )
    good = segments_s <= MAX_MOVED_S and work <= MAX_COST
    if name == SILENCE:
        good = good and words_s <= MAX_MOVED_S and cost <= MAX_COST
    return good


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
