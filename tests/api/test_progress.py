"""Progress and queue over HTTP: shapes, permissions, streams; without real speech."""

import asyncio
import json

import aiohttp
import pytest

from support.api_app import Setup, sample_path
from support.rings import bearer, two_and_an_administrator


@pytest.fixture
def keys(tmp_path):
    """Two ordinary keys and an administrator's."""
    return two_and_an_administrator(tmp_path)


async def send(http, api, request_id: str, **headers: str) -> int:
    form = aiohttp.FormData({"model": "whisper-1"})
    form.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    headers |= {"X-Progress-ID": request_id}
    url = f"{api.base_url}/audio/transcriptions"
    async with http.post(url, data=form, headers=headers) as response:
        assert response.headers["x-request-id"] == request_id
        return response.status


async def get(http, api, path: str, **headers: str):
    async with http.get(f"{api.base_url}{path}", headers=headers) as response:
        return response.status, await response.json()


async def test_a_request_that_has_ended_can_be_asked_about(api, http):
    """Under the id that the client chose."""
    assert await send(http, api, "my-id") == 200
    status, body = await get(http, api, "/progress/my-id")
    assert status == 200
    assert (body["object"], body["stage"], body["percent"]) == ("progress", "done", 100.0)


async def test_an_unknown_id_is_not_found(api, http):
    """With a code of its own."""
    status, body = await get(http, api, "/progress/nobody")
    assert (status, body["error"]["code"]) == (404, "request_not_found")


async def test_a_stream_of_an_ended_request_is_one_event(api, http):
    """And then it ends."""
    await send(http, api, "one")
    url, headers = f"{api.base_url}/progress/one", {"Accept": "text/event-stream"}
    async with asyncio.timeout(15), http.get(url, headers=headers) as response:
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).splitlines()
    assert [json.loads(line[6:])["stage"] for line in lines if line] == ["done"]


async def test_another_keys_request_is_as_if_it_did_not_exist(start, http, keys):
    """Ids may be guessed; progress is nobody else's business."""
    async with start(Setup(keys=keys)) as api:
        assert await send(http, api, "anns", **bearer("ann")) == 200
        assert (await get(http, api, "/progress/anns", **bearer("ann")))[0] == 200
        assert (await get(http, api, "/progress/anns", **bearer("ben")))[0] == 404
        assert (await get(http, api, "/progress/anns"))[0] == 401


async def test_the_queue_is_for_administrators(start, http, keys):
    """403 names what the key lacks; nothing waits here."""
    async with start(Setup(keys=keys)) as api:
        status, body = await get(http, api, "/queue", **bearer("ann"))
        assert (status, body["error"]["code"]) == (403, "insufficient_scope")
        assert "scope 'admin'" in body["error"]["message"]
        assert await get(http, api, "/queue", **bearer("boss")) == (200, {})


async def test_another_key_cannot_take_an_id_away(start, http, keys):
    """Both used the same one; each is told of its own request."""
    async with start(Setup(keys=keys)) as api:
        assert await send(http, api, "same", **bearer("ann")) == 200
        assert await send(http, api, "same", **bearer("ben")) == 200
        assert (await get(http, api, "/progress/same", **bearer("ann")))[0] == 200


async def test_a_proxys_request_id_does_not_hide_the_clients(api, http):
    """Proxies add X-Request-ID, which the client never sees before the answer."""
    assert await send(http, api, "clients", **{"X-Request-ID": "proxys"}) == 200
    assert (await get(http, api, "/progress/clients"))[0] == 200
