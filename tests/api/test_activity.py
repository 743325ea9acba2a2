"""What runs, what ran, and its cancel over HTTP: shapes, permissions, who is cancelled."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import pytest

from support.api_app import GOOD, HELD, NO_START, Setup, sample_path
from support.job_api import api_with_jobs
from support.processes import begun
from support.rings import bearer, two_and_an_administrator

LIMIT_S = 20
HELLO = "en_hello_gb.wav"


@pytest.fixture
def keys(tmp_path):
    """Two ordinary keys and an administrator's."""
    return two_and_an_administrator(tmp_path)


def form(model: str, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData({"model": model, **fields})
    data.add_field("file", sample_path(HELLO).read_bytes(), filename="a.wav")
    return data


async def send(http, url, model, request_id="mine", *, headers=(), **fields):
    """Return status and body of a request for text."""
    sent = {"X-Request-ID": request_id, **dict(headers)}
    async with http.post(url, data=form(model, **fields), headers=sent) as answer:
        return answer.status, await answer.text()


async def activity(http, api, *, limit="", **headers):
    """Return what the list holds."""
    url = f"{api.base_url}/activity{limit}"
    async with http.get(url, headers=headers) as answer:
        return answer.status, await answer.json()


async def cancel(http, api, request_id="mine", **headers):
    """Return status and body of a cancel."""
    url = f"{api.base_url}/activity/{request_id}/cancel"
    async with http.post(url, headers=headers) as answer:
        return answer.status, await answer.json()


@asynccontextmanager
async def held(http, api, path="/v1/audio/transcriptions", **options):
    """Yield a request for text that has begun and goes no further."""
    async with asyncio.timeout(LIMIT_S):
        call = begun(send(http, api.root + path, HELD, **options))
        await api.recogniser.reached.wait()
        yield call
        await call


async def test_a_request_that_ended_is_in_the_history(api, http):
    """With its route, its model and its status; not with its text or the name of its file."""
    status, _ = await send(http, f"{api.base_url}/audio/transcriptions", GOOD)
    assert status == 200
    status, body = await activity(http, api)
    assert (status, body["object"], body["running"]) == (200, "activity", [])
    (item,) = body["history"]
    assert item["took_seconds"] > 0
    assert item["ended_at"] >= item["started_at"] > 1_600_000_000
    expected = {
        "id": "mine",
        "kind": "transcription",
        "method": "POST",
        "path": "/v1/audio/transcriptions",
        "model": GOOD,
        "key": None,
        "status": 200,
        "code": None,
    }
    assert expected.items() <= item.items()
    assert "hello" not in json.dumps(body).lower()


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [(NO_START, 503, "engine_start_failed"), ("nobody's", 404, "model_not_found")],
)
async def test_what_failed_or_was_refused_has_its_error(api, http, model, status, code):
    """Of the engine, or of a name that there is not."""
    answered, _ = await send(http, f"{api.base_url}/audio/transcriptions", model)
    (item,) = (await activity(http, api))[1]["history"]
    assert answered == item["status"] == status
    assert (item["code"], item["model"]) == (code, model)


async def test_a_stream_that_failed_late_has_its_error(api, http):
    """Although its status was 200 when it began."""
    url = f"{api.base_url}/audio/transcriptions"
    assert (await send(http, url, "late-crash", stream="true"))[0] == 200
    (item,) = (await activity(http, api))[1]["history"]
    assert (item["status"], item["code"]) == (502, "engine_crashed")


async def test_a_client_that_left_is_told_from_a_failure(api, http):
    """499, as in nginx's log."""
    async with asyncio.timeout(LIMIT_S):
        call = begun(send(http, f"{api.base_url}/audio/transcriptions", HELD))
        await api.recogniser.reached.wait()
        call.cancel()
        while not (found := (await activity(http, api))[1]["history"]):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.002)
    assert (found[0]["status"], found[0]["code"]) == (499, None)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/audio/transcriptions", {}),
        ("/v1/audio/translations", {}),
        ("/whisperx/v1/audio/transcriptions", {}),
        ("/inference", {}),
    ],
)
async def test_who_is_cancelled_is_answered_410(api, http, path, fields):
    """In every dialect; the work has ended when the cancel is answered."""
    async with held(http, api, path, **fields) as call:
        (item,) = (await activity(http, api))[1]["running"]
        assert (item["id"], item["status"], item["cancellable"]) == ("mine", "running", True)
        assert (item["model"], item["queue_position"]) == (HELD, None)
        assert item["progress"] is not None
        assert await cancel(http, api) == (200, {"id": "mine", "cancelled": True})
        assert api.recogniser.closed.is_set()
        assert (await activity(http, api))[1]["running"] == []
        status, body = await call
    assert (status, json.loads(body)["error"]["code"]) == (410, "request_cancelled")
    (ended,) = (await activity(http, api))[1]["history"]
    assert (ended["status"], ended["code"]) == (410, "request_cancelled")


async def test_the_connection_of_a_cancelled_client_stays(api):
    """It is answered like any other, and may send the next request."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as own, aiohttp.ClientSession() as http:
        async with held(own, api) as call:
            assert (await cancel(http, api))[0] == 200
            assert (await call)[0] == 410
        assert (await send(own, f"{api.base_url}/audio/transcriptions", GOOD))[0] == 200


async def test_a_stream_that_has_begun_ends_with_the_error(api, http):
    """As its last event; no second status."""
    async with held(http, api, stream="true") as call:
        assert (await cancel(http, api))[0] == 200
        status, body = await call
    assert status == 200
    events = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: ")]
    assert events[0]["type"] == "transcript.text.delta"
    assert events[-1]["error"]["code"] == "request_cancelled"
    (ended,) = (await activity(http, api))[1]["history"]
    assert (ended["status"], ended["code"]) == (410, "request_cancelled")


async def test_what_does_not_run_cannot_be_cancelled(api, http):
    """Neither what ended nor what never was."""
    await send(http, f"{api.base_url}/audio/transcriptions", GOOD)
    for request_id in ("mine", "nobody"):
        status, body = await cancel(http, api, request_id)
        assert (status, body["error"]["code"]) == (404, "request_not_found")


async def test_keys_see_and_cancel_their_own_and_administrators_everybodys(start, http, keys):
    """Another key's request is as if it did not exist."""
    async with start(Setup(keys=keys)) as api, held(http, api, headers=bearer("ann")) as call:
        for name, seen in (("ann", 1), ("ben", 0), ("boss", 1)):
            _, body = await activity(http, api, **bearer(name))
            assert [item["key"] for item in body["running"]] == ["ann"] * seen
        assert (await cancel(http, api, **bearer("ben")))[0] == 404
        assert (await cancel(http, api))[0] == 401
        assert (await cancel(http, api, **bearer("boss")))[0] == 200
        assert (await call)[0] == 410
        for name, seen in (("ann", 1), ("ben", 0), ("boss", 1)):
            _, body = await activity(http, api, **bearer(name))
            assert len(body["history"]) == seen


async def test_pages_of_other_sites_cancel_nothing(api, http):
    """Where no key is needed a browser would let them try."""
    async with held(http, api) as call:
        status, body = await cancel(http, api, Origin="http://elsewhere.example")
        assert (status, body["error"]["code"]) == (403, "permission_denied")
        assert not call.done()
        api.recogniser.release.set()
        assert (await call)[0] == 200


@pytest.mark.parametrize("limit", ["0", "501", "x"])
async def test_a_limit_that_cannot_be_is_refused(api, http, limit):
    """`param` names it."""
    status, body = await activity(http, api, limit=f"?limit={limit}")
    assert (status, body["error"]["param"]) == (400, "limit")


async def test_the_limit_is_one_of_the_history(api, http):
    """The latest come first."""
    for number in range(3):
        await send(http, f"{api.base_url}/audio/transcriptions", GOOD, f"r{number}")
    _, body = await activity(http, api, limit="?limit=2")
    assert [item["id"] for item in body["history"]] == ["r2", "r1"]


async def test_jobs_are_listed_and_cancelled_as_jobs(start, http, tmp_path):
    """The request that made one is not listed itself."""
    async with api_with_jobs(start, tmp_path / "jobs") as found:
        made = []
        for _ in range(2):
            async with http.post(found.url, data=form(GOOD)) as answer:
                made.append((await answer.json())["id"])
        _, body = await activity(http, found.api)
        assert [(item["id"], item["queue_position"]) for item in body["running"]] == [
            (made[1], 1),
            (made[0], 0),
        ]
        assert {(item["kind"], item["status"]) for item in body["running"]} == {("job", "queued")}
        assert body["history"] == []
        assert (await cancel(http, found.api, made[0]))[0] == 200
        assert (await cancel(http, found.api, made[0]))[0] == 404
        job = await found.store.find(made[0])
        assert job is not None
        assert job.status == "cancelled"
