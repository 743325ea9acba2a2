"""How jobs end where that cannot be written at once, or somebody else wants them to end."""

import asyncio

import pytest

from support.job_runs import Failing, Held, Recogniser, ended, job_with_audio, running
from support.job_samples import WEBHOOK
from support.processes import begun
from whisper_router.errors import AudioRejected, StorageFull
from whisper_router.jobs.ends import End
from whisper_router.jobs.model import JobStatus
from whisper_router.jobs.sqlite import open_store


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


@pytest.mark.parametrize("error", [StorageFull("The disk is full."), OSError("a bug")])
@pytest.mark.parametrize("outcome", [JobStatus.COMPLETED, JobStatus.FAILED])
async def test_an_end_is_written_as_soon_as_it_can_be(store, tmp_path, error, outcome):
    """With the webhook; the job is not run again for it."""
    errors = [AudioRejected("It crashed twice.")] if outcome is JobStatus.FAILED else []
    async with running(store, tmp_path, Recogniser(*errors)) as runner:
        Failing(store, "finish", error, error)
        await runner.submit(job_with_audio(tmp_path, "one", webhook=WEBHOOK))
        done = await ended(runner, "one")
        assert (done.status, done.attempts) == (outcome, 1)
        assert len(await store.deliveries("one")) == 1


async def test_a_full_disk_leaves_no_job_running(store, tmp_path):
    """SQLite's own word for it, until there is room again."""
    recogniser = Recogniser()
    recogniser.hold_at = 1
    async with running(store, tmp_path, recogniser) as runner:
        finishing = Failing(store, "finish")
        await runner.submit(job_with_audio(tmp_path, "one"))
        await recogniser.reached.wait()
        pages = await store._database.one("PRAGMA page_count")
        await store._database.write(f"PRAGMA max_page_count = {pages}")
        finishing._errors.append(StorageFull("The first try."))
        recogniser.release.set()
        await finishing.has_raised.wait()
        await store._database.write("PRAGMA max_page_count = 100000")
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED


async def test_who_cancels_while_the_disk_is_full_is_told_so(store, tmp_path):
    """And the job is cancelled as soon as there is room."""
    recogniser = Recogniser()
    recogniser.hold_at = 1
    async with running(store, tmp_path, recogniser) as runner:
        job = await runner.submit(job_with_audio(tmp_path, "one"))
        await recogniser.reached.wait()
        Failing(store, "finish", StorageFull("The disk is full."))
        with pytest.raises(StorageFull):
            await runner.cancel(job)
        assert recogniser.running == 0
        assert (await ended(runner, "one")).status is JobStatus.CANCELLED
        async with asyncio.timeout(20):
            while runner._cancelled:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.005)


async def test_a_cancellation_that_comes_late_leaves_a_whole_end(store, tmp_path):
    """Its audio goes, its webhook is called, its followers are told."""
    async with running(store, tmp_path, Recogniser()) as runner:
        finishing = Held(store, "_finish")
        job = await runner.submit(job_with_audio(tmp_path, "one", webhook=WEBHOOK))
        await finishing.reached.wait()
        with runner.watch("one") as changed:
            changed.clear()
            asking = begun(runner.cancel(job))
            await asyncio.sleep(0)
            finishing.release.set()
            assert not await asking
            async with asyncio.timeout(20):
                await changed.wait()
                await runner.delivery_due()
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED
        while job.audio.path.exists():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_a_job_ends_although_nothing_can_be_said_of_it(store, tmp_path):
    """Whoever made the notice has a bug."""
    async with running(store, tmp_path, Recogniser()) as runner:

        def broken(job, transcript):
            raise KeyError(job.id)

        runner._ends._notice = broken
        await runner.submit(job_with_audio(tmp_path, "one", webhook=WEBHOOK))
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED
        assert await store.deliveries("one") == []
        assert not await runner._ends.end(await store.find("one"), End(status=JobStatus.CANCELLED))
