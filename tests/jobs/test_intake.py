"""New jobs: their files, and those who leave before they are told."""

import asyncio

import pytest

from support.job_runs import Failing, Held, Recogniser, ended, running
from support.job_samples import TRANSCRIPT, WEBHOOK, make_job
from support.processes import begun
from whisper_router.errors import QueueFull, StorageFull
from whisper_router.jobs.errors import IdempotencyKeyReused, JobExists
from whisper_router.jobs.model import JobAudio, JobStatus
from whisper_router.jobs.sqlite import open_store


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


def new_job(job_id: str, **changes):
    return make_job(job_id, audio=JobAudio(name="a.wav"), **changes)


def sent(tmp_path, name: str = "upload.wav"):
    path = tmp_path / name
    path.write_bytes(b"RIFF")
    return path


async def test_who_leaves_while_a_job_is_stored_has_made_it(store, tmp_path):
    """It runs."""
    async with running(store, tmp_path, Recogniser()) as runner:
        adding = Held(store, "add")
        asking = begun(runner.submit(new_job("one"), sent(tmp_path)))
        await adding.reached.wait()
        asking.cancel()
        await asyncio.wait([asking])
        adding.release.set()
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED


async def test_what_cannot_be_stored_leaves_no_file(store, tmp_path):
    """And no name that is taken."""
    async with running(store, tmp_path, Recogniser()) as runner:
        Failing(store, "add", StorageFull("The disk is full."))
        with pytest.raises(StorageFull):
            await runner.submit(new_job("one"), sent(tmp_path))
        assert not any(runner.spool.directory.iterdir())
        await runner.submit(new_job("one"), sent(tmp_path))
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED


async def test_no_more_wait_than_may(store, tmp_path):
    """However many come at once."""
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser, max_running=1, max_queued=2) as runner:
        await runner.submit(new_job("first"), sent(tmp_path))
        await recogniser.reached.wait()
        came = await asyncio.gather(
            *(runner.submit(new_job(f"job{n}"), sent(tmp_path, f"{n}.wav")) for n in range(6)),
            return_exceptions=True,
        )
        assert sum(isinstance(item, QueueFull) for item in came) == 4
        assert (await store.counts())[JobStatus.QUEUED] == 2
        assert len(list(runner.spool.directory.iterdir())) == 3
        recogniser.release.set()


async def test_an_id_is_given_once(store, tmp_path):
    """The other job's file stays what it is."""
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser) as runner:
        pairs = [runner.submit(new_job("one"), sent(tmp_path, f"{n}.wav")) for n in range(2)]
        came = await asyncio.gather(*pairs, return_exceptions=True)
        assert [type(item) for item in came].count(JobExists) == 1
        with pytest.raises(JobExists):
            await runner.submit(new_job("one"), sent(tmp_path))
        recogniser.release.set()
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED


async def test_a_key_stands_for_one_request(store, tmp_path):
    """The same again gives the same job, another is refused."""
    async with running(store, tmp_path, Recogniser(), max_running=0) as runner:
        job = new_job("one", idempotency_key="k", fingerprint="same")
        await runner.submit(job)
        again = new_job("two", idempotency_key="k", fingerprint="same")
        assert (await runner.submit(again, sent(tmp_path))).id == "one"
        assert not any(runner.spool.directory.iterdir())
        with pytest.raises(IdempotencyKeyReused):
            await runner.submit(new_job("three", idempotency_key="k", fingerprint="other"))


async def test_what_was_answered_at_once_can_be_asked_for_later(store, tmp_path):
    """And is told to a webhook; a failure, too."""
    async with running(store, tmp_path, Recogniser()) as runner:
        done = make_job("one", status=JobStatus.COMPLETED, ended_s=9e9, webhook=WEBHOOK)
        kept = await runner.record(done, TRANSCRIPT)
        assert (kept.percent, kept.duration_s) == (100.0, TRANSCRIPT.duration_s)
        assert await store.find("one") == kept
        assert await store.transcript("one") == TRANSCRIPT
        async with asyncio.timeout(20):
            await runner.delivery_due()
        assert len(await store.deliveries("one")) == 1
        error = {"message": "It crashed.", "type": "x", "param": None, "code": None}
        failed = make_job("two", status=JobStatus.FAILED, ended_s=9e9, error=error)
        await runner.record(failed, None)
        assert (await store.find("two")).error == error
        with pytest.raises(JobExists):
            await runner.record(done, TRANSCRIPT)
