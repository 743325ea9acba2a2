"""What every store does, on the one there is; what is SQLite's own: test_sqlite.py."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from support.job_samples import EVENTS, TRANSCRIPT, WEBHOOK, make_job
from whisper_router.jobs.model import Delivery, JobAudio, JobStatus
from whisper_router.jobs.sqlite import open_store
from whisper_router.jobs.store import JobStore


@pytest.fixture
async def store(tmp_path) -> JobStore:
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


async def add(store, count: int, **changes):
    return [await store.add(make_job(f"job_{number}", **changes)) for number in range(count)]


async def test_jobs_are_begun_in_the_order_in_which_they_came(store):
    """Each once."""
    jobs = await add(store, 3)
    assert [await store.ahead_of(job) for job in jobs] == [0, 1, 2]
    taken = [await store.take(now_s=7.0) for _ in range(4)]
    assert [job and job.id for job in taken] == ["job_0", "job_1", "job_2", None]
    assert taken[0] == replace(jobs[0], status=JobStatus.RUNNING, started_s=7.0, attempts=1)
    assert await store.counts() == {JobStatus.RUNNING: 3}


async def test_many_that_take_at_once_get_different_jobs(store):
    """No job is run twice at a time."""
    await add(store, 20)
    taken = await asyncio.gather(*(store.take(now_s=1.0) for _ in range(25)))
    ids = [job.id for job in taken if job]
    assert sorted(ids) == sorted(f"job_{number}" for number in range(20))


async def test_what_ran_when_the_process_ended_is_queued_in_its_old_place(store):
    """And what was put back."""
    await add(store, 3)
    await store.take(now_s=1.0)
    await store.take(now_s=1.0)
    await store.put_back("job_1")
    assert await store.requeue() == 1
    assert [(await store.take(now_s=2.0)).id for _ in range(3)] == ["job_0", "job_1", "job_2"]
    assert (await store.find("job_0")).attempts == 2


async def test_the_newest_come_first_page_by_page(store):
    """An owner sees what is theirs."""
    await add(store, 5)
    await store.add(make_job("other", owner="desk"))
    page = await store.page(owner="laptop", limit=2)
    assert [job.id for job in page] == ["job_4", "job_3"]
    page = await store.page(owner="laptop", limit=9, after="job_3")
    assert [job.id for job in page] == ["job_2", "job_1", "job_0"]
    assert [job.id for job in await store.page(owner=None, limit=1)] == ["other"]
    await store.take(now_s=1.0)
    page = await store.page(owner=None, status=JobStatus.RUNNING, limit=9)
    assert [job.id for job in page] == ["job_0"]
    assert await store.page(owner="nobody", limit=9) == []


async def test_the_same_key_makes_one_job(store):
    """Of each owner; without a key each call makes one."""
    first = await store.add(make_job("a", idempotency_key="k"))
    assert await store.add(make_job("b", idempotency_key="k")) == first
    assert (await store.add(make_job("c", owner="desk", idempotency_key="k"))).id == "c"
    assert await store.find("b") is None


async def test_chunks_are_kept_until_the_job_has_ended(store):
    """What comes after its end is not."""
    await add(store, 1)
    await store.take(now_s=1.0)
    await store.keep_chunk("job_0", 0, 16_000, EVENTS)
    await store.keep_chunk("job_0", 16_000, 32_000, [])
    assert await store.chunks("job_0") == {(0, 16_000): list(EVENTS), (16_000, 32_000): []}
    assert await store.finish("job_0", JobStatus.COMPLETED, now_s=9.0, transcript=TRANSCRIPT)
    await store.keep_chunk("job_0", 0, 16_000, EVENTS)
    assert await store.chunks("job_0") == {}
    assert await store.transcript("job_0") == TRANSCRIPT
    job = await store.find("job_0")
    assert (job.status, job.ended_s, job.duration_s) == (JobStatus.COMPLETED, 9.0, 3.5)


async def test_a_job_ends_once(store):
    """Whoever comes second is told."""
    await add(store, 1)
    error = {"message": "It crashed.", "code": "engine_crashed"}
    assert await store.finish("job_0", JobStatus.FAILED, now_s=1.0, error=error)
    assert not await store.finish("job_0", JobStatus.CANCELLED, now_s=2.0)
    job = await store.find("job_0")
    assert (job.status, job.error) == (JobStatus.FAILED, error)
    assert await store.take(now_s=3.0) is None
    assert not await store.finish("nothing", JobStatus.CANCELLED, now_s=2.0)


async def test_a_delivery_is_due_until_it_is_made_or_given_up(store):
    """It comes into being with the end of its job, and has a log."""
    await add(store, 1, webhook=WEBHOOK)
    delivery = Delivery(id="msg_1", job_id="job_0", webhook=WEBHOOK, body="{}", next_s=5.0)
    await store.finish("job_0", JobStatus.CANCELLED, now_s=4.0, delivery=delivery)
    assert await store.next_due_s() == 5.0
    assert await store.due(now_s=4.9, limit=9) == []
    assert await store.due(now_s=5.0, limit=9) == [replace(delivery, log=[])]
    await store.tried("msg_1", entry={"status": 500}, next_s=60.0, delivered_s=None)
    await store.tried("msg_1", entry={"status": 200}, next_s=None, delivered_s=61.0)
    assert await store.next_due_s() is None
    [known] = await store.deliveries("job_0")
    assert (known.attempts, known.delivered_s) == (2, 61.0)
    assert known.log == [{"status": 500}, {"status": 200}]


async def test_what_is_deleted_is_gone_with_all_that_belongs_to_it(store):
    """Its text, too."""
    await add(store, 2)
    delivery = Delivery(id="msg_1", job_id="job_0", webhook=WEBHOOK, body="{}")
    await store.finish(
        "job_0", JobStatus.COMPLETED, now_s=1.0, transcript=TRANSCRIPT, delivery=delivery
    )
    await store.delete("job_0")
    assert await store.find("job_0") is None
    assert await store.transcript("job_0") is None
    assert await store.deliveries("job_0") == []
    assert (await store.find("job_1")).id == "job_1"


async def test_old_jobs_and_erased_audio_are_known(store):
    """By the time of their end."""
    await add(store, 2)
    await store.finish("job_0", JobStatus.CANCELLED, now_s=10.0)
    assert await store.ended_before(11.0) == ["job_0"]
    assert await store.ended_before(10.0) == []
    await store.set_audio("job_0", JobAudio(name="a.wav"))
    audio = (await store.find("job_0")).audio
    assert (audio.path, audio.name) == (None, "a.wav")
    assert (await store.find("job_1")).audio.path == Path("/spool/a.wav")
