"""`/v1/jobs` where there are none, and over a store. With real speech: tests/whole/test_jobs.py."""

import asyncio
import io
import json
from dataclasses import replace

import pytest

from support.job_api import api_with_jobs
from support.job_samples import SEGMENT, TRANSCRIPT, WEBHOOK, make_job
from support.processes import begun
from whisper_router.api.deps import STOPPING
from whisper_router.domain import Task
from whisper_router.jobs.model import Delivery, JobStatus


@pytest.fixture
async def jobs(start, tmp_path, blocking_calls_fail):
    blocking_calls_fail.deactivate()  # the store is opened in this loop
    async with api_with_jobs(start, tmp_path / "state") as jobs:
        yield jobs


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
    url, store = jobs.url, jobs.store
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
    url, store = jobs.url, jobs.store
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
    url = jobs.url
    async with http.get(url, params=query) as response:
        assert response.status == 400
        assert (await response.json())["error"]["param"] == param


async def test_a_form_without_audio_is_no_job(jobs, http):
    """Neither is JSON without an address."""
    url, store = jobs.url, jobs.store
    data = {"model": "whisper-1", "other": io.BytesIO(b"y")}
    for form in ({"data": data}, {"json": {"model": "whisper-1"}}):
        async with http.post(url, **form) as response:
            assert response.status == 400
    assert await store.counts() == {}


async def completed(store, job_id: str = "job_1", transcript=TRANSCRIPT, **changes):
    """Keep a job that is complete."""
    job = make_job(job_id, owner="", **changes)
    job = replace(job, request=replace(job.request, task=Task.TRANSCRIBE))
    await store.add(job)
    await store.finish(job_id, JobStatus.COMPLETED, now_s=9e9, transcript=transcript)


async def asked(http, url: str, **query: str):
    async with http.get(url, params=query) as response:
        return response.status, await response.text()


OWN = [
    ["response_format", "verbose_json"],
    ["timestamp_granularities[]", "word"],
    ["include[]", "logprobs"],
]


@pytest.mark.parametrize(
    "wanted", ["json", "text", "srt", "vtt", "verbose_json", "tsv", "lrc", "vtt_json"]
)
async def test_a_result_comes_in_any_format_whatever_the_job_was_made_for(jobs, http, wanted):
    """What the format does not have is not asked for."""
    await completed(jobs.store, options={"fields": OWN})
    url = f"{jobs.url}/job_1/result"
    status, text = await asked(http, url, response_format=wanted)
    assert status == 200, text
    own = json.loads((await asked(http, url))[1])
    assert own["words"]
    assert "segments" not in own
    status, _ = await asked(
        http, url, response_format="srt", **{"timestamp_granularities[]": "word"}
    )
    assert status == 400


async def test_a_result_has_the_shape_that_the_job_was_made_with(jobs, http):
    """Unless the query has another one."""
    words = [replace(SEGMENT.words[0], text=text) for text in (" one", " two", " three")]
    long = replace(SEGMENT, text=" one two three", words=tuple(words))
    fields = [["response_format", "srt"], ["max_words_per_line", "1"]]
    transcript = replace(TRANSCRIPT, segments=(long,))
    await completed(jobs.store, transcript=transcript, options={"fields": fields})
    url = f"{jobs.url}/job_1/result"
    assert (await asked(http, url))[1].count("-->") == 3
    assert (await asked(http, url, max_words_per_line="3"))[1].count("-->") == 1


async def test_a_page_after_a_job_that_is_gone_is_refused(jobs, http):
    """Rather than said to be the last; another owner's job is as good as gone."""
    await jobs.store.add(make_job("theirs", owner="desk"))
    for after in ("job_1", "theirs"):
        status, text = await asked(http, jobs.url, after=after)
        assert (status, json.loads(text)["error"]["param"]) == (400, "after")


async def test_who_has_seen_the_last_event_need_not_come_back(jobs, http):
    """204 tells an EventSource so."""
    await completed(jobs.store)
    async with http.get(f"{jobs.url}/job_1/events") as response:
        head = (await response.text()).partition("\n")[0]
    headers = {"Last-Event-ID": head.removeprefix("id: ")}
    async with http.get(f"{jobs.url}/job_1/events", headers=headers) as response:
        assert response.status == 204


async def test_who_follows_a_job_is_told_that_it_is_deleted(jobs, http):
    """As the last event."""
    await jobs.store.add(make_job("job_1", owner=""))
    async with http.get(f"{jobs.url}/job_1/events") as response:
        assert (await response.content.readuntil(b"\n\n")).startswith(b"id: ")
        await jobs.store.delete("job_1")
        jobs.runner._watchers.tell("job_1")
        events = (await response.text()).strip().split("data: ")
    assert json.loads(events[-1]) == {"id": "job_1", "object": "job", "deleted": True}


async def test_followers_do_not_hold_up_a_stop(start, tmp_path, http, blocking_calls_fail):
    """They are let go when it begins, and can come back to the next server."""
    blocking_calls_fail.deactivate()
    async with api_with_jobs(start, tmp_path / "state") as jobs:
        await jobs.store.add(make_job("job_1", owner=""))
        response = await http.get(f"{jobs.url}/job_1/events")
        await response.content.readline()
        jobs.api.app[STOPPING].set()
        async with asyncio.timeout(15):
            await response.read()
        response.release()


async def test_a_queued_job_says_when_it_begins(jobs, http):
    """Nobody knows, or at once."""
    for number in range(2):
        await jobs.store.add(make_job(f"job_{number}", owner=""))
    first = json.loads((await asked(http, f"{jobs.url}/job_0"))[1])
    second = json.loads((await asked(http, f"{jobs.url}/job_1"))[1])
    assert (first["queue_position"], first["estimate_seconds"]) == (1, 0.0)
    assert (second["queue_position"], second["estimate_seconds"]) == (2, None)
    await jobs.runner.cancel(await jobs.store.find("job_0"))
    await jobs.store._database.write(
        "UPDATE jobs SET status = 'completed', started_s = 10, ended_s = 70 WHERE id = 'job_0'"
    )
    third = await jobs.store.add(make_job("job_2", owner=""))
    assert await jobs.runner.begins_in_s(third) == 60.0


async def test_a_long_result_leaves_the_server_to_others(jobs, http):
    """Its text is made in a thread."""
    long = replace(TRANSCRIPT, segments=(SEGMENT,) * 20_000)
    await completed(jobs.store, transcript=long)
    asking = begun(asked(http, f"{jobs.url}/job_1/result", response_format="verbose_json"))
    worst_s, loop = 0.0, asyncio.get_running_loop()
    while not asking.done():
        began_s = loop.time()
        await asyncio.sleep(0.002)
        worst_s = max(worst_s, loop.time() - began_s)
    status, text = await asking
    assert status == 200
    assert len(json.loads(text)["segments"]) == 20_000


async def test_json_waits_to_be_asked_for(jobs):
    """Who sends `Expect: 100-continue` is told to go on; a job comes of it."""
    body = json.dumps({"model": "whisper-1", "url": " https://example.org/a.mp3 "}).encode()
    reader, writer = await asyncio.open_connection(jobs.api.host, jobs.api.port)
    writer.write(
        b"POST /v1/jobs HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    async with asyncio.timeout(15):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 202")
    writer.close()
    [job] = await jobs.store.page(owner="", limit=9)
    assert job.audio.url == "https://example.org/a.mp3"
