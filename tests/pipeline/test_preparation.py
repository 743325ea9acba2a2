"""Chunks come while the file is decoded; a late error comes to who waits for them."""

import asyncio

import pytest

from whisper_router.audio.media import Found, Heard, PreparedAudio, Span
from whisper_router.errors import AudioUndecodable
from whisper_router.pipeline.plan import PlannedChunk, Planner
from whisper_router.pipeline.preparation import Preparation
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.tasks import Tasks

WAIT_S = 10


class File:
    """A file whose decoding the test leads step by step."""

    def __init__(self, *, planner: Planner | None) -> None:
        self.tracker = Tracker("")
        self.tracker.update(stage=Stage.DECODING)
        self.preparation = Preparation(planner, self.tracker)
        self.heard = lambda _: None
        self.ended: asyncio.Future[PreparedAudio] = asyncio.get_running_loop().create_future()

    async def prepare(self, *, heard) -> PreparedAudio:
        self.heard = heard
        return await self.ended

    def tell(self, decoded_s: float, *spans: Span) -> None:
        found = Found(spans=spans, quiet_until_s=decoded_s)
        self.heard(Heard(decoded_s=decoded_s, expected_s=100.0, found=found))

    def end(self, path) -> None:
        audio = PreparedAudio(
            path=path,
            samples=1_600_000,
            duration_s=100.0,
            speech=(),
            codec="flac",
            sample_rate_hz=48_000,
            channels=2,
        )
        self.ended.set_result(audio)


@pytest.fixture
async def tasks():
    """Their owner."""
    tasks = Tasks()
    async with asyncio.timeout(WAIT_S):
        yield tasks
        await tasks.close()


async def test_a_chunk_is_given_as_soon_as_it_is_settled(tasks, tmp_path):
    """And the report tells how much is still unknown."""
    file = File(planner=Planner(max_silence_s=5))
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    await asyncio.sleep(0)
    file.tell(40.0, Span(start_s=1.0, end_s=3.0))
    await file.preparation.begun()
    chunks = file.preparation.chunks()
    assert await anext(chunks) == PlannedChunk(start=16_000, end=48_000)
    report = file.tracker.report
    assert (report.stage, report.duration_s, report.decoded_s) == (Stage.WAITING, 100.0, 40.0)
    assert (report.speech_s, report.left_s) == (2.0, 60.0)
    file.end(tmp_path)
    assert [chunk async for chunk in chunks] == []
    assert file.tracker.report.left_s == 0.0
    assert file.preparation.audio.codec == "flac"


async def test_the_percentage_only_grows(tasks, tmp_path):
    """What was not looked at counts as speech until it is known to be none."""
    file = File(planner=Planner(max_silence_s=5))
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    await asyncio.sleep(0)
    seen = []
    for at in range(1, 10):
        file.tell(at * 10.0, Span(start_s=at * 10.0 - 9, end_s=at * 10.0 - 7))
        if at > 1:
            file.tracker.update(stage=Stage.TRANSCRIBING, done_s=1.0)
        seen.append(file.tracker.report.percent)
    file.end(tmp_path)
    assert len([chunk async for chunk in file.preparation.chunks()]) == 9
    seen.append(file.tracker.report.percent)
    assert seen == sorted(seen)
    assert 0 < seen[-1] < 100


async def test_a_file_that_is_longer_than_it_says_is_told_so(tasks, tmp_path):
    """The duration is never less than what was decoded."""
    file = File(planner=Planner(max_silence_s=5))
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    await asyncio.sleep(0)
    file.tell(130.0, Span(start_s=1.0, end_s=3.0))
    assert file.tracker.report.duration_s == 130.0
    file.end(tmp_path)


async def test_an_overlap_counts_once(tasks, tmp_path):
    """Two chunks of 30 s that share 3 s are 57 s of speech."""
    file = File(planner=Planner(max_silence_s=5))
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    await asyncio.sleep(0)
    file.tell(80.0, Span(start_s=0.0, end_s=57.0))
    report = file.tracker.report
    assert (report.speech_s, report.left_s) == (57.0, 20.0)
    file.end(tmp_path)


async def test_without_a_planner_the_whole_file_is_one_chunk_at_its_end(tasks, tmp_path):
    """It is known to be audio before that."""
    file = File(planner=None)
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    await asyncio.sleep(0)
    file.heard(Heard(decoded_s=32.0, expected_s=None, found=None))
    await file.preparation.begun()
    assert (file.tracker.report.left_s, file.tracker.report.percent) == (None, 0.0)
    file.end(tmp_path)
    chunks = [chunk async for chunk in file.preparation.chunks()]
    assert chunks == [PlannedChunk(start=0, end=1_600_000)]


async def test_a_file_that_cannot_be_decoded_at_all_is_no_audio(tasks):
    """The error is there before anything else."""
    file = File(planner=None)
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    file.ended.set_exception(AudioUndecodable("not audio"))
    with pytest.raises(AudioUndecodable):
        await file.preparation.begun()


async def test_a_file_that_breaks_later_fails_after_its_first_chunks(tasks):
    """Who reads the chunks is told."""
    file = File(planner=Planner(max_silence_s=5))
    tasks.spawn(file.preparation.run(file.prepare), name="prepare")
    await asyncio.sleep(0)
    file.tell(40.0, Span(start_s=1.0, end_s=3.0))
    file.ended.set_exception(AudioUndecodable("damaged"))
    await file.preparation.begun()
    chunks = file.preparation.chunks()
    assert await anext(chunks)
    with pytest.raises(AudioUndecodable):
        await anext(chunks)
