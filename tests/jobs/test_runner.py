"""Jobs from their submission to their erasure, over a transcriber that does as it is told."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from support.job_samples import EVENTS, SEGMENT, WEBHOOK, make_job
from whisper_router.domain import AudioFound, AudioReady, Lane, LanguageDetected
from whisper_router.errors import AudioRejected, StorageFull
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.model import JobAudio, JobStatus
from whisper_router.jobs.runner import JobLimits, JobRunner
from whisper_router.jobs.sqlite import open_store
from whisper_router.pipeline.chunk_memory import NO_MEMORY
from whisper_router.pipeline.plan import PlannedChunk

CHUNKS = [PlannedChunk(start=number, end=number + 1) for number in range(3)]


class Recogniser:
    """Runs three chunks; stops before `hold_at` until `release`; raises its `errors` first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.ran: list[tuple[str, int]] = []
        self.lanes: set[Lane] = set()
        self.hold_at: int | None = None
        self.reached, self.release = asyncio.Event(), asyncio.Event()
        self.running = self.most = 0

    async def run(self, request, media, tracker=None, memory=NO_MEMORY):
        self.running += 1
        self.most = max(self.most, self.running)
        self.lanes.add(request.lane)
        try:
            if self.errors:
                raise self.errors.pop(0)
            assert await asyncio.to_thread(media.path.exists)
            yield AudioFound()
            for number, planned in enumerate(CHUNKS):
                known = await memory.recall(planned)
                if known is None:
                    if number == self.hold_at:
                        self.reached.set()
                        await self.release.wait()
                    self.ran.append((media.path.stem, number))
                    await memory.keep(planned, EVENTS)
                for event in known or EVENTS:
                    if not isinstance(event, LanguageDetected):
                        yield event
            yield AudioReady(duration_s=3.0, speech_s=3.0)
        finally:
            self.running -= 1


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


@asynccontextmanager
async def running(store, tmp_path, recogniser, **limits):
    """Run jobs until the block ends."""
    with JobFiles.open(tmp_path) as files:
        runner = JobRunner(
            store=store,
            transcriber=recogniser,
            files=files,
            fetcher=None,
            limits=JobLimits(**{"max_running": 2, "max_queued": 9, "keep_s": 1000.0, **limits}),
            notice=lambda job, transcript: {"status": job.status, "text": transcript and "text"},
        )
        await runner.open()
        try:
            yield runner
        finally:
            await runner.close()


def job_with_audio(tmp_path, name: str, **changes):
    """Return a job whose audio is there."""
    path = tmp_path / "audio" / f"{name}.wav"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"RIFF")
    return make_job(name, audio=JobAudio(path=path, name="a.wav"), **changes)


async def ended(runner, job_id: str):
    """Return a job once it has ended."""
    async with asyncio.timeout(20):
        with runner.watch(job_id) as changed:
            while not (job := await runner.store.find(job_id)).has_ended:
                await changed.wait()
                changed.clear()
    return job


async def test_a_job_runs_to_its_end_and_its_audio_is_erased(store, tmp_path):
    """On the lane of jobs; the transcript stays."""
    recogniser = Recogniser()
    async with running(store, tmp_path, recogniser) as runner:
        job = job_with_audio(tmp_path, "one")
        assert await runner.submit(job) == job
        done = await ended(runner, "one")
        assert (done.status, done.duration_s, done.attempts) == (JobStatus.COMPLETED, 3.0, 1)
        assert (await store.transcript("one")).segments == (SEGMENT,) * 3
    assert recogniser.lanes == {Lane.JOB}
    assert not job.audio.path.exists()
    assert done.audio.path is None or (await store.find("one")).audio.path is None


async def test_only_so_many_run_at_a_time(store, tmp_path):
    """The others wait for their turn."""
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser) as runner:
        for number in range(5):
            await runner.submit(job_with_audio(tmp_path, f"job{number}"))
        await recogniser.reached.wait()
        recogniser.release.set()
        for number in range(5):
            assert (await ended(runner, f"job{number}")).status is JobStatus.COMPLETED
    assert recogniser.most == 2


async def test_after_a_stop_only_missing_chunks_run_again(store, tmp_path):
    """The job is queued meanwhile, and its audio is still there."""
    recogniser = Recogniser()
    recogniser.hold_at = 1
    async with running(store, tmp_path, recogniser) as runner:
        job = await runner.submit(job_with_audio(tmp_path, "one"))
        await recogniser.reached.wait()
    assert (await store.find("one")).status is JobStatus.QUEUED
    assert job.audio.path.exists()
    recogniser.hold_at = None
    async with running(store, tmp_path, recogniser) as runner:
        done = await ended(runner, "one")
    assert (done.status, done.attempts) == (JobStatus.COMPLETED, 2)
    assert recogniser.ran == [("one", 0), ("one", 1), ("one", 2)]


async def test_a_running_job_that_is_cancelled_frees_its_worker(store, tmp_path):
    """At once; it is not run again."""
    recogniser = Recogniser()
    recogniser.hold_at = 1
    async with running(store, tmp_path, recogniser) as runner:
        job = await runner.submit(job_with_audio(tmp_path, "one"))
        await recogniser.reached.wait()
        assert runner.tracker("one") is not None
        assert await runner.cancel(job)
        assert recogniser.running == 0
        assert (await store.find("one")).status is JobStatus.CANCELLED
        assert not await runner.cancel(job)
        assert runner.tracker("one") is None
    async with running(store, tmp_path, recogniser):
        assert await store.take(now_s=1.0) is None


async def test_a_queued_job_that_is_cancelled_is_never_begun(store, tmp_path):
    """Its audio goes."""
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser, max_running=1) as runner:
        await runner.submit(job_with_audio(tmp_path, "one"))
        waiting = await runner.submit(job_with_audio(tmp_path, "two"))
        await recogniser.reached.wait()
        assert await runner.cancel(waiting)
        recogniser.release.set()
        await ended(runner, "one")
        assert not waiting.audio.path.exists()
    assert {name for name, _ in recogniser.ran} == {"one"}


async def test_an_error_is_kept_with_its_status(store, tmp_path):
    """As the client would have got it."""
    async with running(store, tmp_path, Recogniser(AudioRejected("It crashed twice."))) as runner:
        await runner.submit(job_with_audio(tmp_path, "one"))
        failed = await ended(runner, "one")
    assert failed.status is JobStatus.FAILED
    assert (failed.error["code"], failed.error["status"]) == ("audio_rejected", 422)


async def test_a_bug_fails_its_job_and_no_other(store, tmp_path):
    """The next one runs."""
    async with running(store, tmp_path, Recogniser(ZeroDivisionError()), max_running=1) as runner:
        await runner.submit(job_with_audio(tmp_path, "one"))
        await runner.submit(job_with_audio(tmp_path, "two"))
        assert (await ended(runner, "one")).error["status"] == 500
        assert (await ended(runner, "two")).status is JobStatus.COMPLETED


async def test_what_is_unavailable_is_tried_again_and_given_up_at_last(store, tmp_path):
    """A full disk costs a job nothing but time, for a while."""
    errors = [StorageFull("The disk is full.") for _ in range(3)]
    for error in errors:
        error.retry_after_s = 0.01
    async with running(store, tmp_path, Recogniser(*errors[:2])) as runner:
        await runner.submit(job_with_audio(tmp_path, "one"))
        done = await ended(runner, "one")
    assert (done.status, done.attempts) == (JobStatus.COMPLETED, 3)
    async with running(store, tmp_path, Recogniser(*errors), max_attempts=2) as runner:
        await runner.submit(job_with_audio(tmp_path, "two"))
        assert (await ended(runner, "two")).status is JobStatus.FAILED


async def test_the_webhook_of_an_ended_job_is_due_with_its_end(store, tmp_path):
    """With one id, and a body that was made then."""
    async with running(store, tmp_path, Recogniser()) as runner:
        await runner.submit(job_with_audio(tmp_path, "one", webhook=WEBHOOK))
        async with asyncio.timeout(20):
            await runner.delivery_due()
        [delivery] = await store.deliveries("one")
    assert delivery.body == '{"status": "completed", "text": "text"}'
    assert delivery.id.startswith("msg_")
    assert delivery.webhook == WEBHOOK


async def test_old_jobs_are_erased(store, tmp_path):
    """With their text, after `keep_s`; audio only then if it is to be kept."""
    async with running(store, tmp_path, Recogniser(), keep_audio=True) as runner:
        job = await runner.submit(job_with_audio(tmp_path, "one"))
        await ended(runner, "one")
        assert job.audio.path.exists()
    async with running(store, tmp_path, Recogniser(), keep_audio=True, keep_s=-1.0):
        async with asyncio.timeout(20):
            while await store.find("one") is not None:  # noqa: ASYNC110 - nobody watches
                await asyncio.sleep(0)
    assert not job.audio.path.exists()


async def test_files_that_belong_to_no_job_are_deleted_at_the_start(store, tmp_path):
    """What an upload that was cut short has left."""
    orphan = job_with_audio(tmp_path, "orphan").audio.path
    job = job_with_audio(tmp_path, "one")
    await store.add(job)
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser):
        await recogniser.reached.wait()
        assert not orphan.exists()
        assert job.audio.path.exists()


async def test_a_job_without_its_audio_fails(store, tmp_path):
    """It says so."""
    async with running(store, tmp_path, Recogniser()) as runner:
        await runner.submit(make_job("one", audio=JobAudio()))
        assert "no longer there" in (await ended(runner, "one")).error["message"]


async def test_the_same_key_submits_one_job(store, tmp_path):
    """The first one is returned."""
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser) as runner:
        one = await runner.submit(job_with_audio(tmp_path, "one", idempotency_key="k"))
        again = await runner.submit(replace(one, id="two"))
        assert again.id == "one"
