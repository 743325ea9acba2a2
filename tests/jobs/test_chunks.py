"""What chunks have given, in a store that may fail."""

from dataclasses import replace

import pytest
import structlog

from support.job_runs import CHUNKS, Failing, Recogniser, ended, job_with_audio, running
from support.job_samples import EVENTS, make_job
from whisper_router.errors import StorageFull
from whisper_router.jobs.chunks import StoredChunks
from whisper_router.jobs.model import JobStatus
from whisper_router.jobs.sqlite import open_store


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


async def test_what_is_kept_is_recalled(store):
    """What is not is to be run, which is told."""
    job = make_job("one")
    await store.add(job)
    await store.take(now_s=1.0)
    missing = []
    chunks = StoredChunks(store, job, {}, on_missing=lambda: missing.append(1))
    assert await chunks.recall(CHUNKS[0]) is None
    await chunks.keep(CHUNKS[0], EVENTS)
    known = await store.chunks("one")
    chunks = StoredChunks(store, job, known, on_missing=lambda: missing.append(2))
    assert await chunks.recall(CHUNKS[0]) == list(EVENTS)
    assert missing == [1]


async def test_no_two_jobs_are_the_same_work(store):
    """Clients choose ids, and may take that of a job which is erased; read again it is itself."""
    job = make_job("one")
    await store.add(job)
    later = replace(job, created_s=job.created_s + 1e-6)
    again = await store.find("one")
    names = [StoredChunks(store, each, {}, on_missing=list).work for each in (job, later, again)]
    assert names[0] == names[2] != names[1]


async def test_a_chunk_that_cannot_be_kept_costs_the_job_nothing(store, tmp_path):
    """It is said in the log."""
    with structlog.testing.capture_logs() as logs:
        async with running(store, tmp_path, Recogniser()) as runner:
            Failing(store, "keep_chunk", StorageFull("The disk is full."))
            await runner.submit(job_with_audio(tmp_path, "one"))
            assert (await ended(runner, "one")).status is JobStatus.COMPLETED
    assert [entry["event"] for entry in logs].count("chunk_not_kept") == 1
