"""What is erased, and when."""

import asyncio

import pytest

from support.job_runs import Failing, Recogniser, ended, job_with_audio, running
from support.job_samples import TRANSCRIPT, WEBHOOK, make_job
from whisper_router.errors import StorageFull
from whisper_router.jobs.model import Delivery, JobAudio, JobStatus
from whisper_router.jobs.sqlite import open_store


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


async def until(is_so) -> None:
    async with asyncio.timeout(20):
        while not await is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("error", [StorageFull("The disk is full."), OSError("a bug")])
async def test_a_look_that_fails_is_not_the_last(store, tmp_path, error):
    """What is over is erased all the same."""
    await store.add(make_job("one"))
    await store.finish("one", JobStatus.CANCELLED, now_s=1.0)
    looking = Failing(store, "ended_before", error)

    async def is_gone():
        return await store.find("one") is None

    async with running(store, tmp_path, Recogniser()):
        await until(is_gone)
    assert looking.has_raised.is_set()


async def test_a_job_stays_until_its_webhook_has_been_told(store, tmp_path):
    """Without text and audio; then it goes."""
    delivery = Delivery(id="msg_1", job_id="one", webhook=WEBHOOK, body="{}", next_s=9e9)
    await store.add(job_with_audio(tmp_path, "one", webhook=WEBHOOK))
    await store.finish(
        "one", JobStatus.COMPLETED, now_s=1.0, transcript=TRANSCRIPT, delivery=delivery
    )

    async def is_stripped():
        return await store.transcript("one") is None

    async def is_gone():
        return await store.find("one") is None

    async with running(store, tmp_path, Recogniser(), keep_audio=True, sweep_s=0.01):
        await until(is_stripped)
        assert [due.id for due in await store.due(now_s=9e9, limit=9)] == ["msg_1"]
        await store.tried("msg_1", entry={"status": 200}, next_s=None, delivered_s=2.0)
        await until(is_gone)
    assert not any((tmp_path / "audio").iterdir())


async def test_audio_that_an_end_has_left_is_found(store, tmp_path):
    """Also what of it came by a fetch that was killed; uploads that arrive are let alone."""
    async with running(store, tmp_path, Recogniser(), sweep_s=0.01) as runner:
        left = tmp_path / "audio" / "one.wav"
        arriving = runner.spool.new_path()
        arriving.write_bytes(b"RI")
        await store.add(make_job("one"))
        await store.finish("one", JobStatus.CANCELLED, now_s=9e9)
        left.write_bytes(b"RIFF")

        async def is_gone():
            return not left.exists()

        await until(is_gone)
        assert arriving.exists()


async def test_what_was_fetched_in_part_goes_with_its_job(store, tmp_path):
    """Though the store knows of no file."""
    async with running(store, tmp_path, Recogniser(), max_fetching=0) as runner:
        job = await runner.submit(make_job("one", audio=JobAudio(url="http://a/")))
        other = await runner.submit(make_job("one2", audio=JobAudio(url="http://a/")))
        part, others = runner.spool.directory / "one.fetched", runner.spool.directory / "one2.wav"
        part.write_bytes(b"RI")
        others.write_bytes(b"RI")
        assert await runner.cancel(job)
        assert not part.exists()
        assert others.exists()
        await runner.erase(other)
        assert not others.exists()


async def test_what_is_erased_is_nowhere_on_the_disk(store, tmp_path):
    """Neither in the file nor in its log, while the server goes on."""
    async with running(store, tmp_path, Recogniser()) as runner:
        await store.add(job_with_audio(tmp_path, "one"))
        await store.finish("one", JobStatus.COMPLETED, now_s=9e9, transcript=TRANSCRIPT)
        assert any("één".encode() in path.read_bytes() for path in tmp_path.glob("jobs.db*"))
        job = await ended(runner, "one")
        await asyncio.gather(*(runner.erase(job) for _ in range(3)))
        files = list(tmp_path.glob("jobs.db*"))
        assert len(files) > 1
        assert not any("één".encode() in path.read_bytes() for path in files)
