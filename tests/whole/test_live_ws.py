"""`WS /v1/audio/transcriptions` on the real server, with real speech and clients of every kind."""

import asyncio
import itertools
import json
import struct
from difflib import SequenceMatcher
from urllib.parse import urlsplit

import aiohttp
import pytest

from support.client import session
from support.freed import ended, until_freed
from support.live_client import connected, last, pcm, raw_upgrade, send, told
from support.processes import begun
from support.server import running_server
from support.speech import sample
from whisper_router.api.live_ws import MAX_MESSAGE_BYTES

CONFIG = """
default_model = "demo"
[models.one]
model = "demo"
max_sessions = 1
"""
HELLO, THREE, MINUTE = "en_hello_gb", "en_three_segments", "en_two_speakers_long"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the demo model; `one` has no more than one session."""
    with running_server(tmp_path_factory.mktemp("live"), config=CONFIG) as running:
        yield running


@pytest.fixture
async def http():
    """A session whose requests cannot hang for ever."""
    async with session() as http, asyncio.timeout(60):
        yield http


@pytest.mark.parametrize("size", [3200, 777, 1 << 20])
async def test_the_text_does_not_depend_on_how_the_audio_is_cut(server, http, size):
    """Samples may be cut in two. The last message holds all; then the server closes with 1000."""
    async with connected(http, server.url) as socket:
        sending = begun(send(socket, pcm(HELLO), size))
        assert await last(socket) == {"text": "hello world"}
        assert socket.close_code == 1000
        await sending


async def test_formats_are_those_of_the_file_api(server, http):
    """`text` is text; `verbose_json` has segments and words on the session's timeline."""
    async with connected(http, server.url, response_format="text", language="en") as socket:
        await send(socket, pcm(HELLO))
        assert (await told(socket))[-1] == "hello world"
    async with connected(http, server.url, response_format="verbose_json") as socket:
        await send(socket, pcm("en_three_segments"))
        body = await last(socket)
    said = sample("en_three_segments")
    assert body["text"] == said.text
    assert body["language"] == "english"
    assert [segment["text"] for segment in body["segments"]] == [
        f" {text}" for _, _, text in said.segments
    ]
    for segment, (start_s, end_s, _) in zip(body["segments"], said.segments, strict=True):
        assert abs(segment["start"] - start_s) < 0.3
        assert abs(segment["end"] - end_s) < 0.3
    assert " ".join(word["word"] for word in body["words"]) == said.text


async def test_tentative_text_comes_before_it_is_confirmed(server, http):
    """With `interim=true`; confirmed text only grows."""
    async with connected(http, server.url, interim="true") as socket:
        await send(socket, pcm("en_digits_fast"))
        messages = [json.loads(item) for item in await told(socket)]
    assert any(message["tentative"] and not message["text"] for message in messages)
    texts = [message["text"] for message in messages]
    assert all(later.startswith(text) for text, later in itertools.pairwise(texts))
    assert texts[-1] == sample("en_digits_fast").text
    assert messages[-1]["tentative"] == ""


async def test_a_client_that_sends_nothing_more_has_finished(server, http):
    """As faster-whisper-server's clients do: they stop sending and wait for the rest."""
    async with connected(http, server.url, no_data_s=None) as socket:
        await socket.send_bytes(pcm(HELLO))
        assert await last(socket) == {"text": "hello world"}
        assert socket.close_code == 1000


async def test_a_session_in_which_nobody_speaks_any_more_is_over(server, http):
    """After 2.5 s, though audio keeps coming; `inactivity_s=0` waits for ever."""
    silence = bytes(2 * 16_000 * 8)
    async with connected(http, server.url) as socket:
        await socket.send_bytes(pcm(HELLO) + silence)
        assert (await last(socket), socket.close_code) == ({"text": "hello world"}, 1000)
    async with connected(http, server.url, inactivity_s="0") as socket:
        await send(socket, pcm(HELLO) + silence + pcm(HELLO))
        assert await last(socket) == {"text": "hello world hello world"}


async def test_silence_has_an_empty_text(server, http):
    """One message, so that nobody waits for the first one."""
    async with connected(http, server.url) as socket:
        await send(socket, bytes(32_000))
        assert await told(socket) == ['{"text":""}']


async def test_a_flood_has_to_wait_and_loses_nothing(server, http):
    """Half a minute at once: what cannot be heard yet is not read from the socket."""
    async with connected(http, server.url) as socket:
        sending = begun(send(socket, (pcm(THREE) + bytes(32_000)) * 4, 1 << 18))
        words = (await last(socket))["text"].split()
        await sending
    matcher = SequenceMatcher(None, words, sample(THREE).text.split() * 4, autojunk=False)
    assert matcher.ratio() > 0.97


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"model": "nothing"}, 404, "model_not_found"),
        ({"response_format": "srt"}, 400, "unsupported_value"),
        ({"temperature": "hot"}, 400, "invalid_value"),
    ],
)
async def test_what_cannot_be_done_is_answered_before_the_upgrade(
    server, http, query, status, code
):
    """With the usual error body."""
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    url = f"{server.url}/audio/transcriptions"
    async with http.get(url, params=query, headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (status, code)


async def test_one_session_too_many_is_refused_until_another_has_ended(server, http):
    """429 with Retry-After."""
    before = ended(server)
    async with connected(http, server.url, model="one"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with connected(http, server.url, model="one"):
                pass
        assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "5")
    await until_freed(server, http, before)
    async with connected(http, server.url, model="one"):
        pass


async def test_a_page_of_another_site_may_not_listen_without_a_key(server, http):
    """A browser lets every page open a WebSocket to this machine; our own pages may."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with connected(http, server.url, headers={"Origin": "https://evil.example"}):
            pass
    assert caught.value.status == 403
    async with connected(http, server.url, headers={"Origin": server.url}):
        pass


async def test_without_an_upgrade_it_is_the_wrong_method(server, http):
    """As before there was a WebSocket."""
    async with http.get(f"{server.url}/v1/audio/transcriptions") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_text_is_no_audio(server, http):
    """Closed with 1003, after what was heard before."""
    before = ended(server)
    async with connected(http, server.url) as socket:
        await socket.send_bytes(pcm(HELLO))
        await socket.send_str('{"type": "session.update"}')
        assert await last(socket) == {"text": "hello world"}
        assert socket.close_code == 1003
    await until_freed(server, http, before)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1) + b"mask", 1009),
        (b"\xff" * 64, 1002),
    ],
    ids=["too large", "reserved bits"],
)
async def test_what_is_no_frame_of_ours_is_closed_with_the_code_for_it(server, http, frame, code):
    """A message that would hold more than two minutes, and bytes that mean nothing."""
    before, parts = ended(server), urlsplit(server.url)
    path = "/v1/audio/transcriptions?no_data_s=0"
    reader, writer = await raw_upgrade(parts.hostname, parts.port, path)
    writer.write(frame)
    answer = await reader.readexactly(4)
    assert struct.unpack("!H", answer[2:])[0] == code
    writer.close()
    await until_freed(server, http, before)


@pytest.mark.parametrize("goodbye", ["close", "vanish"])
async def test_who_leaves_in_the_middle_frees_everything(server, http, goodbye):
    """With a close frame or without one; its hypothesis is not run to its end."""
    before = ended(server)
    async with connected(http, server.url, model="one", interim="true") as socket:
        sending = begun(send(socket, pcm(MINUTE)))
        await socket.receive()
        if goodbye == "close":
            await socket.close()
        else:
            socket._response.connection.transport.abort()
        sending.cancel()
        await until_freed(server, http, before)


async def test_keys_are_asked_for_in_three_places(tmp_path):
    """Two headers, and the query for browsers; an upload is not helped by the latter."""
    env = {"API_KEY": "secret-of-sixteen"}
    with running_server(tmp_path, config=CONFIG, env=env) as server:
        async with session() as http, asyncio.timeout(60):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with connected(http, server.url, api_key="wrong"):
                    pass
            assert caught.value.status == 401
            key = env["API_KEY"]
            for headers, query in (
                ({"Authorization": f"Bearer {key}"}, {}),
                ({"x-api-key": key}, {}),
                ({"Origin": "https://page.example"}, {"api_key": key}),
            ):
                async with connected(http, server.url, headers=headers, **query) as socket:
                    await send(socket, pcm(HELLO))
                    assert await last(socket) == {"text": "hello world"}
            async with http.get(f"{server.url}/v1/models?api_key={key}") as response:
                assert response.status == 401
    assert key not in json.dumps(server.log)


async def test_a_server_that_stops_tells_what_it_has_heard(tmp_path):
    """Closed with 1001, the text complete."""
    with running_server(tmp_path, config=CONFIG) as server:
        async with session() as http, asyncio.timeout(60):
            async with connected(http, server.url, interim="true") as socket:
                await socket.send_bytes(pcm(HELLO))
                await socket.receive()
                stopping = begun(asyncio.to_thread(server.stop))
                assert (await last(socket))["text"] == "hello world"
                assert socket.close_code == 1001
            assert await stopping == 0
