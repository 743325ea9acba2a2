"""Work that is cancelled on the real server: its worker is free, and its client is told."""

import asyncio
import json

import pytest
from wyoming.client import AsyncClient
from wyoming.error import Error

from support.client import ask, queue_of, session
from support.leaving import CLIP, MINUTE
from support.live_client import connected, pcm
from support.processes import begun
from support.realtime_client import pcm24, realtime
from support.server import running_server
from support.speech import joined
from support.wyoming_client import audio, begin, send, uri_of

LIMIT_S = 60
CONFIG = 'default_model = "demo"\n[wyoming]\nuri = "tcp://127.0.0.1:0"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the demo model, whose one worker is enough for one request."""
    with running_server(tmp_path_factory.mktemp("activity"), config=CONFIG) as running:
        yield running


@pytest.fixture
async def http():
    """A session whose requests cannot hang for ever."""
    async with session() as http, asyncio.timeout(LIMIT_S):
        yield http


async def running(http, url):
    """Return the only work that goes on, once there is some of which audio is known."""
    while True:
        async with http.get(f"{url}/v1/activity") as answer:
            found = (await answer.json())["running"]
        if found and found[0]["audio_seconds"] and found[0]["progress"] != 0:
            assert len(found) == 1
            return found[0]
        await asyncio.sleep(0.005)


async def cancel(http, url, work):
    async with http.post(f"{url}/v1/activity/{work['id']}/cancel") as answer:
        assert (answer.status, await answer.json()) == (200, {"id": work["id"], "cancelled": True})


async def last(http, url):
    async with http.get(f"{url}/v1/activity?limit=1") as answer:
        return (await answer.json())["history"][0]


async def test_a_request_is_cancelled_and_its_worker_is_free(server, http, tmp_path):
    """At once: four minutes would take it much longer. Then the next one is heard."""
    long = tmp_path / "4.wav"
    await asyncio.to_thread(joined, long, *[MINUTE] * 4)
    call = begun(ask(http, server.url, long))
    work = await running(http, server.url)
    assert work["status"] == "running"
    assert 0 < work["progress"] < 1
    await cancel(http, server.url, work)
    assert await queue_of(http, server.url) == {"running": 0, "waiting": []}
    status, body = await call
    assert (status, body["error"]["code"]) == (410, "request_cancelled")
    assert (await ask(http, server.url, CLIP))[1]["text"] == "hello world"
    heard = await last(http, server.url)
    assert (heard["status"], heard["audio_seconds"] > 0.5) == (200, True)
    assert 0 < heard["rtf"] < 50
    assert heard["wait_seconds"] is not None


async def test_a_realtime_session_is_told_and_closed(server, http):
    """With an error event that names what happened."""
    async with realtime(http, server.url) as client:
        await client.append(pcm24("en_hello_gb"))
        work = await running(http, server.url)
        assert (work["kind"], work["cancellable"]) == ("live", True)
        call = begun(cancel(http, server.url, work))
        error = (await client.until("error"))["error"]
        assert error["code"] == "request_cancelled"
        await client.socket.receive()
        assert client.socket.close_code == 1011
        await call
    ended = await last(http, server.url)
    assert (ended["kind"], ended["status"], ended["code"]) == ("live", 410, "request_cancelled")
    assert ended["audio_seconds"] > 0


async def test_a_live_websocket_is_closed_with_the_reason(server, http):
    """It knows no error events."""
    async with connected(http, server.url, no_data_s="0") as socket:
        await socket.send_bytes(pcm("en_hello_gb"))
        call = begun(cancel(http, server.url, await running(http, server.url)))
        async for message in socket:
            assert "text" in json.loads(message.data)
        assert socket.close_code == 1011
        await call
    assert (await last(http, server.url))["code"] == "request_cancelled"


async def test_a_dictation_over_wyoming_is_told(server, http):
    """Its session is nobody's in particular."""
    async with AsyncClient.from_uri(uri_of(server)) as client:
        await begin(client)
        await send(client, audio("en_hello_gb", (16_000, 2, 1)))
        work = await running(http, server.url)
        await cancel(http, server.url, work)
        while (event := await client.read_event()) is not None and not Error.is_type(event.type):
            pass
        assert event is not None
        assert Error.from_event(event).code == "request_cancelled"
    ended = await last(http, server.url)
    assert (ended["method"], ended["path"], ended["key"]) == ("WYOMING", "transcribe", None)
