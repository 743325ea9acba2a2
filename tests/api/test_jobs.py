"""`/v1/jobs` where there are none, and over a store. With real speech: tests/whole/test_jobs.py."""

import asyncio
import io
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.api_app import Setup
from support.job_samples import TRANSCRIPT, WEBHOOK, make_job
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.model import Delivery, JobStatus
from whisper_router.jobs.runner import JobLimits, JobRunner
from whisper_router.jobs.sqlite import open_store


@asynccontextmanager
async def api_with_jobs(start, folder: Path):
    """Serve the API over a store whose jobs nobody runs; yield URL and store."""
    files = await asyncio.to_thread(JobFiles.open, folder)
    async with open_store(files.store) as store:
        runner = JobRunner(
            store=store,
            transcriber=None,
            files=files,
            fetcher=None,
            limits=JobLimits(max_running=1, max_queued=2, keep_s=10.0),
            notice=lambda job, transcript: {},
        )
        async with start(Setup(jobs=runner)) as api:
            yield f"http://{api.host}:{api.port}/v1/jobs", store
    files.close()


@pytest.fixture
async def jobs(start, tmp_path, blocking_calls_fail):
    blocking_calls_fail.deactivate()  # the store is opened in this loop
    async with api_with_jobs(start, tmp_path / "state") as pair:
        yield pair


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("GET", ""),
        ("GET", "/job_1"),
        ("GET", "/job_1/events"),
        ("GET", "/job_1/result"),
        ("POST", "/job_1/cancel"),
        ("DELETE", "/job_1"),
    ],
)
async def test_a_server_without_jobs_says_so(api, http, method, path):
    """503, on every route."""
    url = f"http://{api.host}:{api.port}/v1/jobs{path}"
    async with http.request(method, url) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "jobs_unavailable"


async def test_a_job_that_is_complete_shows_its_deliveries_and_its_result(jobs, http):
    """In any format; a translation has no other task's fields."""
    url, store = jobs
    await store.add(make_job("job_1", owner="", webhook=WEBHOOK))
    delivery = Delivery(id="msg_1", job_id="job_1", webhook=WEBHOOK, body="{}")
    await store.finish(
        "job_1", JobStatus.COMPLETED, now_s=2000.0, transcript=TRANSCRIPT, delivery=delivery
    )
    async with http.get(f"{url}/job_1") as response:
        body = await response.json()
    assert body["status"] == "completed"
    assert body["deliveries"][0]["id"] == "msg_1"
    assert WEBHOOK.secret not in str(body)
    async with http.get(f"{url}/job_1/result", params={"response_format": "srt"}) as response:
        assert (await response.text()).startswith("1\n00:00:00,500 --> 00:00:01,500\n")


async def test_only_so_many_may_wait(jobs, http):
    """The next is told to come back."""
    url, store = jobs
    for number in range(2):
        await store.add(make_job(f"job_{number}", owner=""))
    form = {"model": "whisper-1", "file": io.BytesIO(b"RIFF")}
    async with http.post(url, data=form) as response:
        assert response.status == 429


@pytest.mark.parametrize(
    ("query", "param"), [({"limit": "0"}, "limit"), ({"status": "asleep"}, "status")]
)
async def test_a_list_is_asked_for_properly(jobs, http, query, param):
    """Or refused."""
    url, _ = jobs
    async with http.get(url, params=query) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


async def test_a_form_without_audio_is_no_job(jobs, http):
    """Neither is JSON without an address."""
    url, store = jobs
    data = {"model": "whisper-1", "other": io.BytesIO(b"y")}
    for form in ({"data": data}, {"json": {"model": "whisper-1"}}):
        async with http.post(url, **form) as response:
            assert response.status == 400
    assert await store.counts() == {}
