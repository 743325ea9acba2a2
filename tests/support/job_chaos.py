"""Routers that are killed while jobs run: no job is lost, no stored chunk runs again."""

import asyncio
import io
import random
import signal
import sqlite3
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import numpy as np

from support.client import ask, session
from support.job_receiver import Receiver, receiver
from support.server import ServerProcess, running_server
from support.speech import floats, samples

RATE_HZ = 16_000
POLL_S = 0.02
PAUSE_S = 2.5
"""Longer than `vad.max_silence_s` needs to be for two phrases to be two chunks."""
CONFIG = """
default_model = "demo"
[vad]
max_silence_s = 1.0
[jobs]
directory = "{folder}/state"
[outbound]
allow_private = true
"""


@dataclass
class Report:
    """What was done, and every rule that was broken."""

    jobs: int = 0
    kills: int = 0
    chunks_kept: int = 0
    deliveries: int = 0
    repeated: int = 0
    broken: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield a report."""
        yield (
            f"{self.jobs} jobs, {self.kills} routers killed, {self.chunks_kept} chunks found "
            f"stored after a kill; {self.deliveries} webhooks, {self.repeated} of them called "
            f"more than once; broken: {len(self.broken)}"
        )
        yield from self.broken


def recording(dice: random.Random) -> bytes:
    """Return a WAV file of 3 to 10 phrases with pauses between them."""
    said = [
        floats(sample.path)
        for sample in samples()
        if sample.language == "en" and sample.channels == 1 and 1 < sample.seconds < 6
    ]
    pause = np.zeros(round(PAUSE_S * RATE_HZ), dtype=np.float32)
    parts = [part for _ in range(dice.randint(3, 10)) for part in (dice.choice(said), pause)]
    pcm = (np.concatenate(parts) * 32_767).astype("<i2").tobytes()
    head = io.BytesIO()
    with wave.open(head, "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(pcm)
    return head.getvalue()


async def run_jobs(folder: Path, *, jobs: int, seed: int, pause_s: tuple[float, float]) -> Report:
    """Kill routers until all jobs have ended, then judge."""
    dice, report = random.Random(seed), Report(jobs=jobs)
    files = [await asyncio.to_thread(recording, dice) for _ in range(min(jobs, 8))]
    (folder / "www").mkdir()
    async with receiver(folder / "www") as told:
        expected: dict[str, str] = {}
        with running_server(folder, config=CONFIG.format(folder=folder)) as server:
            _look(folder, WATCH)
            texts = await _texts(server, folder, files)
            async with session() as http:
                for number in range(jobs):
                    job_id = await _submit(http, server, files[number % len(files)], told)
                    expected[job_id] = texts[number % len(files)]
            while not _look(folder)[0]:  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(POLL_S)
            await asyncio.to_thread(server.stop, signal.SIGKILL)
        report.kills = 1
        while len(told.calls) < jobs:
            report.chunks_kept += _look(folder)[0]
            with running_server(folder, config=CONFIG.format(folder=folder)) as server:
                try:
                    # Each router lives a little longer, so that some work is done on any machine.
                    async with asyncio.timeout(dice.uniform(*pause_s) * (1 + report.kills / 3)):
                        await told.until(jobs)
                except TimeoutError:
                    report.kills += 1
                    await asyncio.to_thread(server.stop, signal.SIGKILL)
        with running_server(folder, config=CONFIG.format(folder=folder)) as server:
            await _judge(server, expected, told, report)
            again = _look(folder)[1]
            report.broken += [f"{job}: the chunk at {start} was run again" for job, start in again]
        report.broken += [f"left: {path.name}" for path in (folder / "state" / "audio").iterdir()]
    return report


async def _texts(server: ServerProcess, folder: Path, files: list[bytes]) -> list[str]:
    """Return what the file API hears in each recording."""
    found = []
    async with session() as http:
        for number, data in enumerate(files):
            path = folder / f"{number}.wav"
            path.write_bytes(data)
            found.append((await ask(http, server.url, path))[1]["text"])
    return found


async def _submit(
    http: aiohttp.ClientSession, server: ServerProcess, data: bytes, told: Receiver
) -> str:
    form = aiohttp.FormData({"model": "demo", "webhook": f"{told.url}/hook"})
    form.add_field("file", io.BytesIO(data), filename="speech.wav")
    async with http.post(f"{server.url}/v1/jobs", data=form) as response:
        assert response.status == 202, await response.text()
        return (await response.json())["id"]


WATCH = """
CREATE TABLE IF NOT EXISTS run_again (job TEXT, start INTEGER);
CREATE TRIGGER IF NOT EXISTS chunk_run_again BEFORE INSERT ON chunks
WHEN EXISTS (SELECT 1 FROM chunks WHERE job = new.job AND start = new.start)
BEGIN INSERT INTO run_again VALUES (new.job, new.start); END;
"""


def _look(folder: Path, script: str = "") -> tuple[int, list[tuple[str, int]]]:
    """Return how many chunks are stored, and which of them were run again."""
    database = sqlite3.connect(folder / "state" / "jobs.db")
    try:
        database.executescript(script)
        [(count,)] = database.execute("SELECT count(*) FROM chunks").fetchall()
        return count, database.execute("SELECT job, start FROM run_again").fetchall()
    finally:
        database.close()


async def _judge(
    server: ServerProcess, expected: dict[str, str], told: Receiver, report: Report
) -> None:
    async with session() as http:
        for job_id, text in expected.items():
            async with http.get(f"{server.url}/v1/jobs/{job_id}/result") as response:
                body = await response.json()
            if body.get("text") != text:
                report.broken.append(f"{job_id}: {body} is not '{text}'")
            calls = told.calls[job_id]
            report.deliveries += 1
            report.repeated += len(calls) > 1
            if len({call["id"] for call in calls}) != 1:
                report.broken.append(f"{job_id}: its webhook came with several ids")
