"""Making jobs: what is refused, what is left of that, and who is told of a job that there is."""

import asyncio
import io
import json

import aiohttp
import pytest

from support.job_api import api_with_jobs
from support.job_samples import make_job
from whisper_router.api import job_making
from whisper_router.api.forms import parse_order
from whisper_router.api.job_errors import JobExists
from whisper_router.api.job_making import NewJob
from whisper_router.api.job_making import make_job as make
from whisper_router.api.wire import json_response
from whisper_router.domain import Task
from whisper_router.errors import RouterError

SECRETS = "secret-of-sixteen"
URL = "https://example.org/a.mp3"


@pytest.fixture
async def jobs(start, tmp_path, blocking_calls_fail):
    blocking_calls_fail.deactivate()  # the store is opened in this loop
    async with api_with_jobs(start, tmp_path / "state") as jobs:
        yield jobs


def form(data: bytes = b"RIFF", **fields: str) -> aiohttp.FormData:
    made = aiohttp.FormData({"model": "whisper-1"} | fields)
    made.add_field("file", io.BytesIO(data), filename="a.wav")
    return made


async def sent(http, jobs, data=None, *, key: str | None = None, path: str = "", **body):
    """Return status and answer."""
    headers = {} if key is None else {"Idempotency-Key": key}
    what = {"json": body} if data is None else {"data": data}
    url = f"{jobs.api.root}{path}" if path else jobs.url
    async with http.post(url, headers=headers, **what) as response:
        return response.status, await response.json()


def files(jobs) -> list[str]:
    return [path.name for path in jobs.runner.spool.directory.iterdir()]


async def test_a_form_becomes_a_job(jobs, http):
    """What says how its result is written is kept, and how long its engine is to stay."""
    fields = {"response_format": "srt", "max_line_width": "40", "keep_alive": "5m"}
    status, body = await sent(http, jobs, form(**fields))
    assert status == 202
    job = await jobs.store.find(body["id"])
    assert job.options["fields"] == [["response_format", "srt"], ["max_line_width", "40"]]
    assert (job.keep_alive_s, job.request.word_timestamps) == (300.0, True)
    assert files(jobs) == [job.id]


@pytest.mark.parametrize("path", ["", "/v1/audio/transcriptions"])
@pytest.mark.parametrize("key", ["x" * 256])
async def test_what_is_refused_leaves_nothing(jobs, http, path, key):
    """No file, no row."""
    fields = {"async": "true"} if path else {}
    status, body = await sent(http, jobs, form(**fields), key=key, path=path)
    assert (status, "Idempotency-Key" in body["error"]["message"]) == (400, True)
    assert files(jobs) == []
    assert await jobs.store.counts() == {}


async def test_who_comes_again_is_told_of_the_job_also_when_no_more_may_wait(jobs, http):
    """And is refused where it is not the same request."""
    status, first = await sent(http, jobs, form(), key="k")
    await jobs.store.add(make_job("other"))
    assert (await sent(http, jobs, form()))[0] == 429
    status, again = await sent(http, jobs, form(), key="k")
    assert (status, again["id"]) == (202, first["id"])
    for data in (form(b"RIFX"), form(language="de"), form(task="translate")):
        status, body = await sent(http, jobs, data, key="k")
        assert (status, body["error"]["code"]) == (422, "idempotency_key_reused")
    assert files(jobs) == [first["id"]]


async def test_a_full_queue_is_told_before_the_upload(jobs):
    """The client need not send it."""
    for number in range(2):
        await jobs.store.add(make_job(f"job_{number}"))
    reader, writer = await asyncio.open_connection(jobs.api.host, jobs.api.port)
    writer.write(
        b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nExpect: 100-continue\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"
    )
    async with asyncio.timeout(15):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429")
    writer.close()


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": URL, "webhook": "http://[::1"}, "webhook"),
        ({"url": URL, "webhook": "https://example.org/\ud800"}, "webhook"),
        ({"url": URL, "webhook": ["https://example.org/"]}, "webhook"),
        ({"url": [URL]}, "url"),
        ({"url": "http://[::1"}, "url"),
        ({}, "url"),
        ({"url": URL, "prompt": "\ud800"}, "prompt"),
        ({"url": URL, "hotwords": "\ud800"}, "hotwords"),
        ({"url": URL, "hotwords": ["\ud800"]}, "hotwords[]"),
        ({"url": URL, "\ud800": "x"}, None),
    ],
)
async def test_json_that_cannot_be_a_job_is_refused_by_its_field(jobs, http, body, param):
    """It is the client's mistake, not ours."""
    data = json.dumps({"model": "whisper-1"} | body)
    headers = {"Content-Type": "application/json"}
    async with http.post(jobs.url, data=data, headers=headers) as response:
        error = (await response.json())["error"]
        assert (response.status, error["param"]) == (400, param), error


async def test_a_form_without_a_file_misses_that(jobs, http):
    """Not an address."""
    empty = aiohttp.FormData({"model": "whisper-1"})
    empty.add_field("other", io.BytesIO(b"y"), filename="x")
    status, body = await sent(http, jobs, empty)
    assert (status, body["error"]["param"]) == (400, "file")


async def test_a_dialect_makes_jobs_of_its_own(
    start, tmp_path, http, blocking_calls_fail, monkeypatch
):
    """With its own ids and options; an id is given once, and is a harmless file name."""
    blocking_calls_fail.deactivate()
    asked = {}

    async def create(request, *_):
        order = parse_order([("model", "whisper-1")], task=Task.TRANSCRIBE)
        new = NewJob(order=order, url=URL, id=asked["id"], options={"dialect": "x"})
        job = await make(request, new)
        return json_response({"id": job.id})

    monkeypatch.setattr("whisper_router.api.jobs._create", create)
    async with api_with_jobs(start, tmp_path / "state") as jobs:
        asked["id"] = "0e1b-mine"
        assert await sent(http, jobs) == (200, {"id": "0e1b-mine"})
        assert (await jobs.store.find("0e1b-mine")).options == {"dialect": "x", "fields": []}
        status, body = await sent(http, jobs)
        assert (status, body["error"]["code"]) == (JobExists.status, "job_exists")
        asked["id"] = "../../etc/passwd"
        assert (await sent(http, jobs))[0] == 400


def test_a_server_without_jobs_says_so():
    """In the error that its routes answer."""

    class NoJobs:
        jobs = None

    with pytest.raises(RouterError, match="keeps no jobs"):
        job_making.service_of(NoJobs())
