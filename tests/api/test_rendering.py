"""Work on long results."""

import asyncio
import threading
from pathlib import Path

import aiohttp
import pytest

from support.api_app import GOOD, Api, Start, sample_path
from support.job_api import api_with_jobs
from support.job_samples import TRANSCRIPT, make_job
from whisper_router.api import rendering
from whisper_router.api.dialects.kept import OwnId
from whisper_router.api.rendering import LONG, Rendering
from whisper_router.domain import Client, Segment, Task, Transcript
from whisper_router.jobs.model import JobStatus


async def test_only_so_much_is_done_at_a_time():
    """Not in the event loop's thread."""
    now, most, lock = [0], [0], threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def work(number: int, *, add: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        both.wait()
        with lock:
            now[0] -= 1
        return number + add

    shared = Rendering(2)
    done = await asyncio.gather(*(shared.run(work, number, add=1) for number in range(6)))
    assert done == [1, 2, 3, 4, 5, 6]
    assert most[0] == 2


async def test_what_fails_gives_its_place_back():
    """The error is the caller's."""
    shared = Rendering(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await shared.run(lambda: 1 / 0)


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """An item for each piece of work that was given to a thread."""
    noted: list[int] = []
    run = Rendering.run

    async def noting(self, work, *args, **kwargs):
        noted.append(1)
        return await run(self, work, *args, **kwargs)

    monkeypatch.setattr(Rendering, "run", noting)
    return noted


@pytest.mark.parametrize("segments", [LONG, LONG + 1])
async def test_only_long_transcripts_are_worth_a_thread(segments: int):
    """To change threads costs as much as to write one segment."""
    said = (Segment(start_s=0.0, end_s=1.0, text=" a"),) * segments
    transcript = Transcript(task=Task.TRANSCRIBE, language="en", duration_s=1.0, segments=said)
    found = await Rendering().write(transcript, threading.current_thread)
    assert (found is threading.main_thread()) == (segments == LONG)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/audio/transcriptions", {"model": GOOD, "response_format": "verbose_json"}),
        ("/asr?output=json", {}),
        ("/inference", {"response_format": "verbose_json"}),
        ("/whisperx/v1/audio/transcriptions", {"response_format": "srt", "align": "true"}),
    ],
)
async def test_long_transcripts_are_written_in_threads_everywhere(
    api: Api, http: aiohttp.ClientSession, runs: list[int], monkeypatch, path, fields
):
    """Every transcript is long here."""
    monkeypatch.setattr(rendering, "LONG", 0)
    name = "audio_file" if path.startswith("/asr") else "file"
    data = aiohttp.FormData(fields)
    data.add_field(name, sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    async with http.post(api.root + path, data=data) as answer:
        assert answer.status == 200, await answer.text()
    assert len(runs) == 1


async def test_kept_tasks_are_written_in_threads(
    start: Start, tmp_path: Path, http: aiohttp.ClientSession, blocking_calls_fail, runs: list[int]
):
    """Of insanely-fast-whisper-api's clients, who ask for them by their ids."""
    blocking_calls_fail.deactivate()  # the store is opened in this loop
    async with api_with_jobs(start, tmp_path / "state") as jobs:
        job_id = OwnId(dialect="insanely_fast_whisper", own_id="mine").job_id(Client())
        await jobs.store.add(make_job(job_id, owner=""))
        await jobs.store.finish(job_id, JobStatus.COMPLETED, now_s=2.0, transcript=TRANSCRIPT)
        async with http.get(f"{jobs.api.root}/status/mine") as answer:
            assert (await answer.json())["status"] == "completed"
    assert len(runs) == 1
