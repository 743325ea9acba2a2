"""`/v1/jobs` on the real server: real speech, kills, and answers in every format."""

import asyncio
import base64
import io
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import aiohttp
import openai
import pytest

from support.client import ask, queue_of, session, until_queue
from support.engine_processes import frozen, the_worker
from support.job_chaos import run_jobs
from support.job_receiver import receiver
from support.server import running_server
from support.speech import sample

CONFIG = """
default_model = "demo"
[jobs]
directory = "{folder}/state"
max_running = 2
[outbound]
allow_private = true
"""
MINUTE, HELLO = sample("en_two_speakers_long"), sample("en_hello_gb")


def config(folder) -> str:
    return CONFIG.format(folder=folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    with running_server(folder, config=config(folder)) as running:
        yield running


@pytest.fixture
async def http():
    async with session() as http, asyncio.timeout(100):
        yield http


async def submit(http, url: str, said=HELLO, headers=None, **fields: str):
    """Return the job that is made of a recording."""
    form = aiohttp.FormData({"model": "demo"} | fields)
    form.add_field("file", io.BytesIO(said.path.read_bytes()), filename=said.path.name)
    async with http.post(f"{url}/v1/jobs", data=form, headers=headers) as response:
        body = await response.json()
        assert response.status == 202, body
        assert response.headers["Location"] == f"/v1/jobs/{body['id']}"
        return body


async def events(http, url: str, job_id: str, last: str = ""):
    """Yield id and job of each event until the job has ended."""
    headers = {"Last-Event-ID": last}
    async with http.get(f"{url}/v1/jobs/{job_id}/events", headers=headers) as response:
        if response.status == 204:  # there will be no more
            return
        assert response.content_type == "text/event-stream"
        event_id = ""
        async for line in response.content:
            if line.startswith(b"id: "):
                event_id = line[4:].decode().strip()
            elif line.startswith(b"data: "):
                yield event_id, json.loads(line[6:])


async def ended(http, url: str, job_id: str):
    """Return the job once it has ended."""
    return [job async for _, job in events(http, url, job_id)][-1]


async def result(http, url: str, job_id: str, **query: str):
    async with http.get(f"{url}/v1/jobs/{job_id}/result", params=query) as response:
        return response.status, await response.text()


@asynccontextmanager
async def at_rest(server, http) -> AsyncIterator[None]:
    """Have the only worker do nothing until the block ends, so that no job ends meanwhile."""
    assert (await ask(http, server.url, HELLO.path))[0] == 200
    with frozen(await asyncio.to_thread(the_worker, server)):
        yield


async def test_a_job_tells_how_far_it_is_and_what_was_said(server, http):
    """Its share only grows; its result comes in the format that it was made with."""
    async with at_rest(server, http):
        job = await submit(http, server.url, MINUTE, response_format="text")
        told = events(http, server.url, job["id"])
        seen = [(await anext(told))[1]]
    assert (job["status"], job["object"], job["filename"]) == ("queued", "job", MINUTE.path.name)
    seen += [body async for _, body in told]
    shares = [body["percent"] for body in seen]
    assert shares == sorted(shares)
    assert any(0 < share < 100 for share in shares)
    assert (seen[-1]["status"], seen[-1]["percent"]) == ("completed", 100.0)
    assert seen[-1]["duration"] == pytest.approx(MINUTE.seconds, abs=0.05)
    _, direct = await ask(http, server.url, MINUTE.path)
    status, text = await result(http, server.url, job["id"])
    assert (status, text) == (200, direct["text"] + "\n")


async def test_a_result_is_rendered_in_every_format_without_running_again(server, http):
    """As the file API would have answered."""
    job = await ended(http, server.url, (await submit(http, server.url))["id"])
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="-", max_retries=0)
    async with client:
        for wanted in ("json", "text", "srt", "vtt"):
            direct = await client.audio.transcriptions.with_raw_response.create(
                model="demo", file=HELLO.path, response_format=wanted
            )
            body = await result(http, server.url, job["id"], response_format=wanted)
            assert body == (200, direct.text)
    query = {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
    _, verbose = await result(http, server.url, job["id"], **query)
    assert [word["word"] for word in json.loads(verbose)["words"]] == ["hello", "world"]
    status, body = await result(http, server.url, job["id"], response_format="poem")
    assert (status, json.loads(body)["error"]["param"]) == (400, "response_format")


async def test_openais_route_makes_a_job_on_request(server, http):
    """`async=true`."""
    form = aiohttp.FormData({"model": "demo", "async": "true"})
    form.add_field("file", HELLO.path.read_bytes(), filename="hello.wav")
    async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response:
        assert response.status == 202
        job = await response.json()
    assert (await ended(http, server.url, job["id"]))["status"] == "completed"
    assert json.loads((await result(http, server.url, job["id"]))[1])["text"] == HELLO.text


async def test_who_comes_back_is_told_what_has_changed(server, http):
    """Not what was told before."""
    async with at_rest(server, http):
        job = await submit(http, server.url, MINUTE)
        async with aclosing(events(http, server.url, job["id"])) as told:
            first_id, _ = await anext(told)
    again = [pair async for pair in events(http, server.url, job["id"], last=first_id)]
    assert first_id not in [event_id for event_id, _ in again]
    last_id = again[-1][0]
    assert [pair async for pair in events(http, server.url, job["id"], last=last_id)] == []


async def test_cancelling_frees_the_worker_and_deleting_erases(server, http):
    """A cancelled job has no result; a deleted one is not there."""
    async with at_rest(server, http):
        job = await submit(http, server.url, MINUTE)
        await until_queue(http, server.url, running=1, waiting=0)
    async with http.post(f"{server.url}/v1/jobs/{job['id']}/cancel") as response:
        assert (await response.json())["status"] == "cancelled"
    assert (await queue_of(http, server.url))["running"] == 0
    status, body = await result(http, server.url, job["id"])
    assert (status, json.loads(body)["error"]["code"]) == (409, "job_not_completed")
    for _ in range(2):
        async with http.delete(f"{server.url}/v1/jobs/{job['id']}") as response:
            last = response.status
    assert last == 404


async def test_the_newest_are_listed_first(server, http):
    """Page by page."""
    made = [await submit(http, server.url) for _ in range(3)]
    for job in made:
        await ended(http, server.url, job["id"])
    query = {"limit": "2", "status": "completed"}
    async with http.get(f"{server.url}/v1/jobs", params=query) as response:
        page = await response.json()
    assert [job["id"] for job in page["data"]] == [made[2]["id"], made[1]["id"]]
    assert page["has_more"]
    query["after"] = page["last_id"]
    async with http.get(f"{server.url}/v1/jobs", params=query) as response:
        assert (await response.json())["data"][0]["id"] == made[0]["id"]


async def test_the_same_idempotency_key_makes_one_job(server, http):
    """However often it is sent."""
    headers = {"Idempotency-Key": "once"}
    jobs = [await submit(http, server.url, headers=headers) for _ in range(2)]
    assert jobs[0]["id"] == jobs[1]["id"]


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "nothing"}, 404, None),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"webhook": "nowhere"}, 400, "webhook"),
        ({"task": "sing"}, 400, "task"),
        ({"url": "https://example.org/"}, 400, "url"),
        ({"webhook": "http://169.254.169.254/"}, 400, "webhook"),
    ],
)
async def test_what_cannot_be_a_job_is_refused_at_once(server, http, fields, status, param):
    """Nothing is kept of it."""
    form = aiohttp.FormData({"model": "demo"} | fields)
    form.add_field("file", HELLO.path.read_bytes(), filename="hello.wav")
    async with http.post(f"{server.url}/v1/jobs", data=form) as response:
        error = (await response.json())["error"]
        assert response.status == status, error
        assert param is None or error["param"] == param


async def test_audio_that_is_none_fails_its_job(server, http):
    """With the error that the file API would have answered."""
    form = aiohttp.FormData({"model": "demo"})
    form.add_field("file", b"no audio" * 1000, filename="noise.wav")
    async with http.post(f"{server.url}/v1/jobs", data=form) as response:
        job = await response.json()
    failed = await ended(http, server.url, job["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "audio_undecodable")
    status, body = await result(http, server.url, job["id"])
    assert (status, json.loads(body)["error"]["code"]) == (400, "audio_undecodable")


async def test_audio_may_be_at_an_address(server, http, tmp_path):
    """For a job, as JSON, and for an answer at once; what is not there fails."""
    (tmp_path / "hello.wav").write_bytes(HELLO.path.read_bytes())
    async with receiver(tmp_path) as host:
        body = {"model": "demo", "url": f"{host.url}/hello.wav"}
        async with http.post(f"{server.url}/v1/jobs", json=body) as response:
            assert response.status == 202
            job = await ended(http, server.url, (await response.json())["id"])
        assert (job["status"], job["filename"]) == ("completed", "hello.wav")
        assert json.loads((await result(http, server.url, job["id"]))[1])["text"] == HELLO.text
        form = aiohttp.FormData({"model": "demo", "audio_url": f"{host.url}/hello.wav"})
        form.add_field("other", io.BytesIO(b""), filename="")
        async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response:
            assert (await response.json())["text"] == HELLO.text
        body["url"] = f"{host.url}/nothing.wav"
        async with http.post(f"{server.url}/v1/jobs", json=body) as response:
            job = await ended(http, server.url, (await response.json())["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "url_fetch_failed")


async def test_a_webhook_is_told_of_the_end_and_signed(server, http, tmp_path):
    """With the text; the job shows that it was."""
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    async with receiver(tmp_path) as told:
        webhook = json.dumps({"url": f"{told.url}/hook", "secret": secret})
        job = await submit(http, server.url, webhook=webhook)
        await told.until(1)
        [call] = told.calls[job["id"]]
        assert call["body"]["type"] == "job.completed"
        assert call["body"]["data"]["text"] == HELLO.text
        assert told.headers[0]["webhook-signature"].startswith("v1,")
        async with asyncio.timeout(15):
            while True:
                async with http.get(f"{server.url}/v1/jobs/{job['id']}") as response:
                    [delivery] = (await response.json())["deliveries"]
                if delivery["delivered_at"]:
                    break
        assert (delivery["id"], delivery["attempts"]) == (call["id"], 1)


async def test_a_private_address_is_not_asked_unless_it_is_allowed(tmp_path):
    """Nothing connects; the client is told at once."""
    plain = CONFIG.partition("[outbound]")[0].format(folder=tmp_path)
    async with receiver(tmp_path) as host, session() as http, asyncio.timeout(60):
        with running_server(tmp_path, config=plain) as server:
            for body, param in (
                ({"url": f"{host.url}/hello.wav"}, "url"),
                ({"url": "https://example.org/", "webhook": f"{host.url}/hook"}, "webhook"),
            ):
                async with http.post(f"{server.url}/v1/jobs", json=body) as response:
                    error = (await response.json())["error"]
                    assert (response.status, error["code"]) == (400, "url_refused")
                    assert error["param"] == param


@pytest.mark.timeout(300)
async def test_routers_that_are_killed_lose_no_job_and_run_no_stored_chunk_again(tmp_path):
    """Every webhook comes, with one id each; `chaos_jobs.py` (bench) does it with fifty."""
    report = await run_jobs(tmp_path, jobs=2, seed=11, pause_s=(1.5, 3.0))
    print("\n".join(report.lines()))
    assert report.broken == []
    assert report.kills > 0
    assert report.chunks_kept > 0


async def test_keys_see_their_own_jobs(tmp_path):
    """Another key's are not there."""
    keys = {"API_KEY": "secret-of-sixteen"}
    with running_server(tmp_path, config=config(tmp_path), env=keys) as server:
        async with session() as http, asyncio.timeout(60):
            headers = {"Authorization": f"Bearer {keys['API_KEY']}"}
            job = await submit(http, server.url, headers=headers)
            url = f"{server.url}/v1/jobs/{job['id']}"
            async with http.get(url) as response:
                assert response.status == 401
            async with http.get(url, headers=headers) as response:
                assert response.status == 200
            async with http.get(f"{server.url}/v1/jobs/job_x", headers=headers) as response:
                assert (await response.json())["error"]["code"] == "job_not_found"


async def test_jobs_go_on_after_a_restart(tmp_path):
    """All are complete with the right text; the audio is gone then."""
    with running_server(tmp_path, config=config(tmp_path)) as server:
        async with session() as http, asyncio.timeout(60):
            jobs = [await submit(http, server.url, MINUTE) for _ in range(2)]
            async for _, job in events(http, server.url, jobs[0]["id"]):
                if job["percent"] > 20:
                    break
        await asyncio.to_thread(server.stop, signal.SIGTERM)
    stored = chunks(tmp_path)
    assert stored
    with running_server(tmp_path, config=config(tmp_path)) as server:
        async with session() as http, asyncio.timeout(100):
            _, direct = await ask(http, server.url, MINUTE.path)
            for job in jobs:
                done = await ended(http, server.url, job["id"])
                assert done["status"] == "completed"
                body = json.loads((await result(http, server.url, job["id"]))[1])
                assert body["text"] == direct["text"]
            assert done["attempts"] <= 2
    assert list((tmp_path / "state" / "audio").iterdir()) == []


def chunks(folder) -> list[tuple[str, int]]:
    """Return which chunks are stored."""
    with sqlite3.connect(folder / "state" / "jobs.db") as database:
        return database.execute("SELECT job, start FROM chunks").fetchall()


async def test_a_server_that_cannot_keep_jobs_serves_without_them(tmp_path):
    """Two servers do not share a directory that nobody has named."""
    plain = 'default_model = "demo"\n'
    first, second = tmp_path / "first", tmp_path / "second"
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    first.mkdir()
    second.mkdir()
    with running_server(first, config=plain, env=state) as one:
        async with session() as http, asyncio.timeout(60):
            await submit(http, one.url)
            with running_server(second, config=plain, env=state) as two:
                async with http.get(f"{two.url}/v1/jobs") as response:
                    assert response.status == 503
                    assert (await response.json())["error"]["code"] == "jobs_unavailable"
