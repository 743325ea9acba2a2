"""Jobs from their submission to their erasure, over a transcriber that does as it is told."""

import asyncio
import math
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from support.job_runs import Failing, Held, Recogniser, ended, job_with_audio, running
from support.job_samples import SEGMENT, WEBHOOK, make_job
from support.processes import begun
from whisper_router.audio.fetch_url import FetchedAudio
from whisper_router.domain import Lane
from whisper_router.errors import AudioRejected, StorageFull, UrlFetchFailed
from whisper_router.jobs.model import JobAudio, JobStatus
from whisper_router.jobs.sqlite import open_store
from whisper_router.pipeline.progress import Stage


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path / "jobs.db") as store:
        yield store


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


async def test_what_is_logged_while_a_job_runs_has_its_id(store, tmp_path):
    """Whoever's request it was that began it."""
    with capture_logs(processors=[merge_contextvars]) as logs:
        async with running(store, tmp_path, Recogniser()) as runner:
            with bound_contextvars(request_id="req_1"):
                await runner.submit(job_with_audio(tmp_path, "one"))
            job = await ended(runner, "one")
    began = next(line for line in logs if line["event"] == "job_began")
    assert began["request_id"] == (job.request.request_id or job.id)


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
    assert (done.status, done.attempts, done.failures) == (JobStatus.COMPLETED, 3, 2)
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
                await asyncio.sleep(0.005)
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


async def test_a_store_that_fails_once_stops_nothing(store, tmp_path):
    """Neither what is queued then nor what comes later."""
    async with running(store, tmp_path, Recogniser()) as runner:
        taking = Failing(store, "take", OSError("bug"), StorageFull("The disk is full."))
        await runner.submit(job_with_audio(tmp_path, "one"))
        assert (await ended(runner, "one")).status is JobStatus.COMPLETED
        assert taking.has_raised.is_set()
        await runner.submit(job_with_audio(tmp_path, "two"))
        assert (await ended(runner, "two")).status is JobStatus.COMPLETED


async def test_a_row_that_cannot_be_read_fails_and_others_run(store, tmp_path):
    """Also at the start of the server."""
    for name in ("one", "two"):
        await store.add(job_with_audio(tmp_path, name, webhook=WEBHOOK))
    strange = "UPDATE jobs SET request = json_set(request, '$.task', 'sing') WHERE id = 'one'"
    await store._database.write(strange)
    async with running(store, tmp_path, Recogniser(), max_running=1) as runner:
        assert (await ended(runner, "two")).status is JobStatus.COMPLETED
        failed = await store.find("one")
        assert (failed.status, failed.error["code"]) == (JobStatus.FAILED, "job_unreadable")
        assert await store.status_of("one") is JobStatus.FAILED
        assert len(await store.deliveries("one")) == 1
        assert len(await store.page(owner=None, limit=9)) == 2


async def test_who_leaves_while_a_job_is_cancelled_has_cancelled_it(store, tmp_path):
    """It is not run again."""
    recogniser = Recogniser()
    recogniser.hold_at = 1
    async with running(store, tmp_path, recogniser) as runner:
        job = await runner.submit(job_with_audio(tmp_path, "one"))
        await recogniser.reached.wait()
        finishing = Held(store, "finish", before=True)
        asking = begun(runner.cancel(job))
        await finishing.reached.wait()
        asking.cancel()
        await asyncio.wait([asking])
        finishing.release.set()
        done = await ended(runner, "one")
        assert (done.status, done.attempts) == (JobStatus.CANCELLED, 1)


@pytest.mark.parametrize("does", ["cancel", "erase"])
async def test_a_job_that_ends_as_it_is_begun_does_not_run(store, tmp_path, does):
    """The next one does at once."""
    recogniser = Recogniser()
    async with running(store, tmp_path, recogniser, max_running=1) as runner:
        taking = Held(store, "take")
        one = await runner.submit(job_with_audio(tmp_path, "one"))
        await taking.reached.wait()
        asking = begun(getattr(runner, does)(one))
        await asyncio.sleep(0)
        taking.release.set()
        await asking
        found = await store.find("one")
        assert found is None or found.status is JobStatus.CANCELLED
        await runner.submit(job_with_audio(tmp_path, "two"))
        assert (await ended(runner, "two")).status is JobStatus.COMPLETED
    assert {name for name, _ in recogniser.ran} == {"two"}


async def test_what_is_put_off_leaves_its_place_to_others(store, tmp_path):
    """A model that does not start is no matter of theirs."""
    errors = [StorageFull("The disk is full.") for _ in range(2)]
    async with running(store, tmp_path, Recogniser(*errors), max_running=1) as runner:
        for name in ("one", "two", "three"):
            await runner.submit(job_with_audio(tmp_path, name))
        assert (await ended(runner, "three")).status is JobStatus.COMPLETED
        waiting = await store.find("one")
        assert (waiting.status, waiting.failures) == (JobStatus.QUEUED, 1)
        assert waiting.not_before_s > time.time()


async def test_a_model_is_in_use_while_a_job_runs(store, tmp_path):
    """And stays for as long as the job's form has said."""
    uses = []

    @contextmanager
    def in_use(model, keep_alive_s):
        uses.append((model, keep_alive_s))
        yield
        uses.append("over")

    async with running(store, tmp_path, Recogniser()) as runner:
        runner._in_use = in_use
        await runner.submit(job_with_audio(tmp_path, "one", keep_alive_s=math.inf))
        await ended(runner, "one")
    assert uses == [("demo", math.inf), "over"]


class Host:
    """Has audio at every address; `slow` ones stop until `release`."""

    def __init__(self, *errors):
        self.errors, self.now, self.most = list(errors), 0, 0
        self.reached, self.release = asyncio.Event(), asyncio.Event()

    async def fetch(self, url, target):
        if self.errors:
            raise self.errors.pop(0)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if "slow" in url:
                self.reached.set()
                await self.release.wait()
        finally:
            self.now -= 1
        await asyncio.to_thread(target.write_bytes, b"RIFF")
        return FetchedAudio(name="a.mp3", content_type=None, size_bytes=4)


def job_elsewhere(name: str, url: str, **changes):
    return make_job(name, audio=JobAudio(url=url), **changes)


async def test_slow_addresses_take_no_places(store, tmp_path):
    """Nor does one owner's slowness hold up others; the webhook knows the file's name."""
    host = Host()
    async with running(
        store, tmp_path, Recogniser(), host, max_running=1, max_fetching_per_key=2
    ) as runner:
        for number in range(4):
            await runner.submit(job_elsewhere(f"slow{number}", "http://slow/"))
        await host.reached.wait()
        assert runner.tracker("slow0").report.stage is Stage.FETCHING
        await runner.submit(job_with_audio(tmp_path, "here"))
        assert (await ended(runner, "here")).status is JobStatus.COMPLETED
        await runner.submit(job_elsewhere("quick", "http://quick/", owner="desk"))
        done = await ended(runner, "quick")
        assert (done.status, done.audio.name) == (JobStatus.COMPLETED, "a.mp3")
        assert host.most <= 3
        host.release.set()
        for number in range(4):
            assert (await ended(runner, f"slow{number}")).status is JobStatus.COMPLETED
    assert not any((tmp_path / "audio").iterdir())


async def test_a_fetch_is_cancelled_and_tried_again(store, tmp_path):
    """A full disk passes; what nobody wants any more is not fetched on."""
    error = StorageFull("The disk is full.")
    error.retry_after_s = 0.01
    host = Host(error)
    async with running(store, tmp_path, Recogniser(), host) as runner:
        await runner.submit(job_elsewhere("one", "http://quick/"))
        assert (await ended(runner, "one")).failures == 1
        job = await runner.submit(job_elsewhere("two", "http://slow/"))
        await host.reached.wait()
        assert await runner.cancel(job)
        assert host.now == 0
        await runner.submit(job_elsewhere("three", "http://gone/"))
        host.errors.append(UrlFetchFailed("Not there."))
        assert (await ended(runner, "three")).error["code"] == "url_fetch_failed"


async def test_it_is_told_how_long_a_job_takes(store, tmp_path):
    """Once something is known: by the pace of what runs, and by what jobs before have taken."""
    recogniser = Recogniser()
    recogniser.hold_at = 0
    async with running(store, tmp_path, recogniser, max_running=1) as runner:
        one = await runner.submit(job_with_audio(tmp_path, "one"))
        two = await runner.submit(job_with_audio(tmp_path, "two"))
        await recogniser.reached.wait()
        assert runner.left_s("one") is None
        assert await runner.begins_in_s(two) is None
        runner.tracker("one").update(speech_s=10.0, left_s=0.0, done_s=5.0)
        least_s = runner.left_s("one")
        begins_s = await runner.begins_in_s(two)
        assert 0.0 <= least_s <= begins_s <= runner.left_s("one")  # half is done, and time passes
        await runner.cancel(one)
        assert (await store.find("one")).percent == 50.0
        recogniser.release.set()
        await ended(runner, "two")
