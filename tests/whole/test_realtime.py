"""`WS /v1/realtime` on the real server: real speech, the official client, clients of every kind."""

import asyncio
import base64
import json
import struct
from urllib.parse import urlsplit

import aiohttp
import openai
import pytest

from support.client import session
from support.engine_processes import forked_workers
from support.freed import ended, until_freed
from support.live_client import raw_upgrade
from support.processes import begun
from support.realtime_client import TRANSCRIPTION, g711, pcm24, realtime
from support.server import running_server
from support.speech import sample
from whisper_router.api.realtime.config import LOGPROBS, TENTATIVE
from whisper_router.api.realtime.socket import MAX_MESSAGE_BYTES

CONFIG = """
default_model = "demo"
[models.one]
model = "demo"
max_sessions = 1
"""
HELLO, MINUTE, SEGMENTS = "en_hello_gb", "en_two_speakers_long", "en_three_segments"
VAD = {"type": "server_vad"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the demo model; `one` has no more than one session."""
    with running_server(tmp_path_factory.mktemp("realtime"), config=CONFIG) as running:
        yield running


@pytest.fixture
async def http():
    """A session whose requests cannot hang for ever."""
    async with session() as http, asyncio.timeout(60):
        yield http


def official(url: str, key: str = "any") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


async def test_the_official_client_takes_a_turn_by_itself(server):
    """It knows the session as one for transcription, and its events by their types."""
    async with (
        official(server.url) as client,
        asyncio.timeout(60),
        client.realtime.connect(extra_query={"intent": "transcription"}) as connection,
    ):
        created = await connection.recv()
        assert type(created.session).__name__.startswith("RealtimeTranscriptionSession")
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "demo"}, "turn_detection": None}},
            }
        )
        updated = await connection.recv()
        assert updated.session.audio.input.transcription.model == "demo"
        assert updated.session.audio.input.turn_detection is None
        audio = base64.b64encode(pcm24(SEGMENTS)).decode()
        await connection.input_audio_buffer.append(audio=audio)
        await connection.input_audio_buffer.commit()
        deltas, ids = [], set()
        async for event in connection:
            ids.add(event.event_id)
            if event.type == f"{TRANSCRIPTION}.delta":
                deltas.append(event.delta)
            if event.type == f"{TRANSCRIPTION}.completed":
                break
        assert "".join(deltas) == event.transcript == sample(SEGMENTS).text
        assert event.usage.type == "duration"
        assert event.usage.seconds == pytest.approx(sample(SEGMENTS).seconds, abs=0.01)
        assert len(ids) >= len(deltas) + 4
        await connection.input_audio_buffer.commit(event_id="c7")
        error = await connection.recv()
        assert error.error.code == "input_audio_buffer_commit_empty"
        assert error.error.event_id == "c7"


def test_the_official_client_that_blocks_connects_too(server):
    """And lists what it is told."""
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as client,
        client.realtime.connect(model="demo") as connection,
    ):
        assert connection.recv().type == "session.created"


async def test_the_server_finds_the_turns(server, http):
    """Three of them, in order, each with its own id and its place in the audio."""
    async with realtime(http, server.url, intent="transcription") as client:
        await client.append(pcm24(SEGMENTS, silence_s=1))
        done = [await client.completed() for _ in range(3)]
    said = sample(SEGMENTS).segments
    assert [event["transcript"] for event in done] == [text for _, _, text in said]
    for event, (start_s, end_s, _) in zip(done, said, strict=True):
        mine = [e for e in client.seen if event["item_id"] in json.dumps(e)]
        kinds = [e["type"] for e in mine if e.get("item_id") == event["item_id"]]
        order = ["speech_started", "speech_stopped", "committed"]
        audio = [kind.rpartition(".")[2] for kind in kinds if kind.startswith("input_audio_buffer")]
        assert audio == order
        assert kinds[-1] == f"{TRANSCRIPTION}.completed"
        assert abs(mine[0]["audio_start_ms"] / 1000 - start_s) < 0.5
        [stopped] = [e for e in mine if e["type"].endswith("speech_stopped")]
        assert abs(stopped["audio_end_ms"] / 1000 - (end_s + 0.5)) < 0.5
    committed = [e for e in client.seen if e["type"] == "input_audio_buffer.committed"]
    previous = [event["previous_item_id"] for event in committed]
    assert previous == [None, *(event["item_id"] for event in committed[:-1])]


async def test_words_come_before_the_commit(server, http):
    """Under the id that the commit names later."""
    async with realtime(http, server.url) as client:
        await client.update(turn_detection=None, include=[TENTATIVE, LOGPROBS])
        await client.append(pcm24(SEGMENTS))
        first = await client.until(f"{TRANSCRIPTION}.delta")
        await client.send("input_audio_buffer.commit")
        committed = await client.until("input_audio_buffer.committed")
        assert committed["item_id"] == first["item_id"]
        done = await client.completed()
    assert [p["token"].strip() for p in done["logprobs"]] == done["transcript"].split()
    assert all(
        p["logprob"] <= 0 and bytes(p["bytes"]).decode() == p["token"] for p in done["logprobs"]
    )
    assert any(event["type"] == f"{TRANSCRIPTION}.tentative" for event in client.seen)


@pytest.mark.parametrize(
    ("kind", "codec"), [("audio/pcmu", "pcm_mulaw"), ("audio/pcma", "pcm_alaw")]
)
async def test_telephones_are_understood(server, http, kind, codec):
    """G.711 at 8 kHz. The format cannot change under what is in the buffer."""
    async with realtime(http, server.url) as client:
        await client.update(format={"type": kind}, turn_detection=None)
        await client.append(g711("en_call_sign", codec), 800)
        change = {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm"}}}}
        await client.send("session.update", session=change)
        await client.send("input_audio_buffer.commit")
        refused = None
        while (event := await client.receive())["type"] != f"{TRANSCRIPTION}.completed":
            if event["type"] == "error":
                refused = event["error"]
        assert event["transcript"] == sample("en_call_sign").text
        assert refused["param"] == "session.audio.input.format"


async def test_two_turns_committed_back_to_back_are_two_items(server, http):
    """Each completed under its own id."""
    async with realtime(http, server.url) as client:
        await client.update(turn_detection=None)
        for _ in range(2):
            await client.append(pcm24(HELLO), 1 << 20)
            await client.send("input_audio_buffer.commit")
        done = [await client.completed() for _ in range(2)]
        assert [event["transcript"] for event in done] == ["hello world"] * 2
        assert done[0]["item_id"] != done[1]["item_id"]
        await client.send("conversation.item.retrieve", item_id=done[1]["item_id"])
        item = (await client.until("conversation.item.retrieved"))["item"]
        assert base64.b64decode(item["content"][0]["audio"]) == pcm24(HELLO)
        assert item["content"][0]["transcript"] == "hello world"
        await client.send("conversation.item.delete", item_id=done[0]["item_id"])
        assert (await client.receive())["item_id"] == done[0]["item_id"]
        await client.send("conversation.item.retrieve", item_id=done[0]["item_id"], event_id="r")
        error = await client.error()
        assert (error["code"], error["event_id"]) == ("item_not_found", "r")


async def test_what_was_cleared_is_not_heard(server, http):
    """With turn detection and without; then there is nothing to commit."""
    async with realtime(http, server.url) as client:
        for detection in (None, VAD):
            await client.update(turn_detection=detection)
            await client.append(pcm24(HELLO)[:-24_000])
            await client.send("input_audio_buffer.clear")
            await client.until("input_audio_buffer.cleared")
            await client.send("input_audio_buffer.commit")
            assert (await client.error())["code"] == "input_audio_buffer_commit_empty"
        await client.append(pcm24(HELLO, silence_s=1))
        assert (await client.completed())["transcript"] == "hello world"


async def test_a_commit_right_after_a_clear_holds_nothing_of_what_was_cleared(server, http):
    """Though a window of that was being recognised; replies come in order."""
    async with realtime(http, server.url) as client:
        await client.update(turn_detection=None)
        await client.append(pcm24(SEGMENTS))
        await client.until(f"{TRANSCRIPTION}.delta")
        await client.send("input_audio_buffer.clear")
        await client.append(pcm24(HELLO))
        await client.send("input_audio_buffer.commit")
        done = await client.completed()
        assert done["transcript"] == "hello world"
        deltas = [e for e in client.seen if e.get("item_id") == done["item_id"] and "delta" in e]
        assert "".join(event["delta"] for event in deltas) == "hello world"


async def test_items_keep_their_order_when_the_way_of_taking_turns_changes(server, http):
    """The turn that was going on comes first, and is named as the one before."""
    async with realtime(http, server.url) as client:
        await client.append(pcm24(HELLO))
        await client.until("input_audio_buffer.speech_started")
        change = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        await client.send("session.update", session=change)
        await client.append(pcm24("en_call_sign"))
        await client.send("input_audio_buffer.commit")
        first, second = [await client.completed() for _ in range(2)]
        committed = [e for e in client.seen if e["type"] == "input_audio_buffer.committed"]
    assert [first["transcript"], second["transcript"]] == [
        "hello world",
        sample("en_call_sign").text,
    ]
    assert [event["item_id"] for event in committed] == [first["item_id"], second["item_id"]]
    assert [event["previous_item_id"] for event in committed] == [None, first["item_id"]]


async def test_a_model_without_room_is_refused_and_the_session_stays_with_its_own(server, http):
    """Another name of the same model is no other model."""
    async with (
        realtime(http, server.url, model="one") as busy,
        realtime(http, server.url) as client,
    ):
        await busy.update(turn_detection=None)
        await client.update(turn_detection=None)
        await client.update(transcription={"model": "demo"})
        await client.append(pcm24(HELLO))
        spoken = {"audio": {"input": {"transcription": {"model": "one"}}}}
        await client.send("session.update", session={"type": "transcription", **spoken})
        while (event := await client.receive())["type"] != "error":
            pass
        assert event["error"]["code"] == "too_many_sessions"
        await client.send("input_audio_buffer.commit")
        assert (await client.completed())["transcript"] == "hello world"


async def test_a_commit_in_mid_speech_ends_the_turn_there(server, http):
    """Without `speech_stopped`; the rest is the next turn."""
    audio = pcm24(SEGMENTS, silence_s=1)
    async with realtime(http, server.url) as client:
        await client.append(audio[: 2 * 24_000])
        await client.send("input_audio_buffer.commit")
        first = await client.completed()
        assert "input_audio_buffer.speech_stopped" not in [e["type"] for e in client.seen]
        await client.append(audio[2 * 24_000 :])
        await client.until(f"{TRANSCRIPTION}.completed")
        assert first["transcript"] in {"red green", "red green blue"}


async def test_switching_turn_detection_off_commits_what_is_there(server, http):
    """And on again; nothing that was said is lost."""
    async with realtime(http, server.url) as client:
        await client.update(turn_detection=None)
        await client.append(pcm24(HELLO))
        await client.update(turn_detection=VAD)
        assert (await client.completed())["transcript"] == "hello world"
        await client.append(pcm24(HELLO))
        await client.update(turn_detection=None)
        assert (await client.completed())["transcript"] == "hello world"


async def test_another_model_takes_over_where_the_first_one_ends(server, http):
    """All of what was said before is told first, and times go on."""
    before = ended(server)
    async with realtime(http, server.url) as client:
        await client.update(transcription={"model": "demo", "language": "en"})
        await client.append(pcm24(HELLO))
        await client.update(transcription={"model": "one"})
        await client.append(pcm24(HELLO, silence_s=1))
        done = [await client.completed() for _ in range(2)]
    assert [event["transcript"] for event in done] == ["hello world"] * 2
    starts = [e["audio_start_ms"] for e in client.seen if e["type"].endswith("speech_started")]
    assert starts[1] - starts[0] >= len(pcm24(HELLO)) / 48 - 1
    await asyncio.to_thread(server.wait_for_log, "live_session_ended", count=before + 2)


async def test_a_turn_without_a_full_stop_lasts_longer_with_semantic_vad(server, http):
    """The demo model writes no punctuation: 2 s of silence, not 0.5, end it."""
    async with realtime(http, server.url) as client:
        shown = await client.update(turn_detection={"type": "semantic_vad", "eagerness": "high"})
        assert shown["audio"]["input"]["turn_detection"]["eagerness"] == "high"
        await client.append(pcm24(HELLO, silence_s=2.5))
        stopped = await client.until("input_audio_buffer.speech_stopped")
        assert (await client.completed())["transcript"] == "hello world"
        assert 2000 < stopped["audio_end_ms"] < (sample(HELLO).seconds + 2.1) * 1000
        await client.append(pcm24(SEGMENTS)[: 2 * 24_000 * 6], 1 << 20)
        await client.send("input_audio_buffer.commit")
        assert (await client.completed())["transcript"].startswith("red green blue open left")


WRONG = [
    ("{", "invalid_json", None),
    ("[]", "invalid_event", None),
    ('{"event_id": "e"}', "invalid_event", None),
    ('{"type": "response.create", "event_id": "e"}', "invalid_value", "type"),
    ('{"type": "input_audio_buffer.append", "audio": "*"}', "invalid_value", "audio"),
    ('{"type": "input_audio_buffer.append"}', "missing_required_parameter", "audio"),
    ('{"type": "session.update"}', "missing_required_parameter", "session"),
    ('{"type": "session.update", "session": {}}', "missing_required_parameter", "session.type"),
    (
        '{"type": "session.update", "session": {"type": "transcription", "voice": 1}}',
        "unknown_parameter",
        "session.voice",
    ),
    (
        '{"type": "session.update", "session": {"type": "transcription", "audio": {"input": '
        '{"transcription": {"model": "nothing"}}}}}',
        "invalid_model",
        "session.audio.input.transcription.model",
    ),
    ('{"type": "conversation.item.delete", "item_id": "x"}', "item_not_found", "item_id"),
]


async def test_errors_keep_the_session_open(server, http):
    """Each is told; afterwards all is as before."""
    async with realtime(http, server.url) as client:
        for message, code, param in WRONG:
            await client.socket.send_str(message)
            error = await client.error()
            assert (error["code"], error["param"]) == (code, param)
            assert error["event_id"] == ("e" if "event_id" in message else None)
        await client.append(pcm24(HELLO, silence_s=1))
        assert (await client.completed())["transcript"] == "hello world"


async def test_fifteen_mebibytes_in_one_event_are_taken_and_pings_are_answered_meanwhile(
    server, http
):
    """Five minutes of audio; the goodbye afterwards does not wait for them."""
    before = ended(server)
    audio = (pcm24(MINUTE) * 9)[: 15 << 20]
    async with realtime(http, server.url, autoping=False) as client:
        await client.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())
        await client.until(f"{TRANSCRIPTION}.delta")
        await client.socket.ping(b"still there?")
        pong = await until_pong(client.socket)
        assert pong.data == b"still there?"
    await until_freed(server, http, before)


async def until_pong(socket: aiohttp.ClientWebSocketResponse) -> aiohttp.WSMessage:
    """Return the pong, which overtakes what is recognised later."""
    async with asyncio.timeout(15):
        while (message := await socket.receive()).type is not aiohttp.WSMsgType.PONG:
            assert message.type is aiohttp.WSMsgType.TEXT
    return message


async def test_sessions_do_not_hear_each_other(server, http):
    """Two at once, in two languages, each in its own order."""

    async def talk(name: str) -> str:
        async with realtime(http, server.url) as client:
            await client.update(turn_detection=None)
            await client.append(pcm24(name))
            await client.send("input_audio_buffer.commit")
            return (await client.completed())["transcript"]

    names = ["de_digits", "en_call_sign"]
    assert await asyncio.gather(*map(talk, names)) == [sample(name).text for name in names]


async def test_one_session_too_many_is_refused_before_any_audio(server, http):
    """An error that says so, and 1013: clients come back after it."""
    async with realtime(http, server.url, model="one") as first:
        await first.update(turn_detection=None)
        async with realtime(http, server.url, model="one") as second:
            await second.append(pcm24(HELLO)[:4800])
            assert (await second.error())["code"] == "too_many_sessions"
            message = await second.socket.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
        await first.append(pcm24(HELLO))
        await first.send("input_audio_buffer.commit")
        assert (await first.completed())["transcript"] == "hello world"


async def test_a_model_that_is_not_there_is_said_over_the_socket(server, http):
    """A browser could not read the answer to its handshake."""
    address = f"{server.url}/v1/realtime?model=nothing"
    async with http.ws_connect(address) as socket:
        error = json.loads(await socket.receive_str())["error"]
        assert (error["code"], error["param"]) == ("invalid_model", "model")
        message = await socket.receive()
        assert (message.data, message.extra) == (4000, "invalid_request_error.invalid_model")


async def test_the_retired_shape_is_still_understood(server, http):
    """By its header; its items are `created`."""
    headers = {"OpenAI-Beta": "realtime=v1"}
    created = "transcription_session.created"
    async with realtime(http, server.url, headers=headers, created=created) as client:
        session = {
            "input_audio_format": "pcm16",
            "input_audio_transcription": {"model": "demo", "language": "en"},
            "turn_detection": None,
        }
        await client.send("transcription_session.update", session=session)
        told = (await client.until("transcription_session.updated"))["session"]
        assert told["input_audio_transcription"]["language"] == "en"
        assert told["turn_detection"] is None
        await client.append(pcm24(HELLO))
        await client.send("input_audio_buffer.commit")
        assert (await client.completed())["transcript"] == "hello world"
        kinds = [event["type"] for event in client.seen]
        assert "conversation.item.created" in kinds
        assert "conversation.item.added" not in kinds
        bad = {"input_audio_format": "opus"}
        await client.send("transcription_session.update", session=bad)
        assert (await client.error())["param"] == "session.input_audio_format"


async def test_an_engine_that_is_killed_costs_a_session_nothing(server, http):
    """Its chunk runs again on a fresh worker."""
    async with realtime(http, server.url) as client:
        await client.update(turn_detection=None, transcription={"model": "one"})
        await client.append(pcm24(SEGMENTS)[:96_000])
        await client.until(f"{TRANSCRIPTION}.delta")
        for worker in forked_workers(server):
            worker.kill()
        await client.append(pcm24(SEGMENTS)[96_000:])
        await client.send("input_audio_buffer.commit")
        assert (await client.completed())["transcript"] == sample(SEGMENTS).text


@pytest.mark.parametrize("goodbye", ["close", "vanish"])
async def test_who_leaves_in_the_middle_frees_everything(server, http, goodbye):
    """With a close frame or without one, while audio is still coming."""
    before = ended(server)
    async with realtime(http, server.url) as client:
        sending = begun(client.append(pcm24(MINUTE)))
        await client.until(f"{TRANSCRIPTION}.delta")
        if goodbye == "close":
            await client.socket.close()
        else:
            client.socket._response.connection.transport.abort()
        sending.cancel()
        await until_freed(server, http, before)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\xff" + struct.pack("!Q", MAX_MESSAGE_BYTES + 1) + b"mask", 1009),
        (b"\xff" * 64, 1002),
    ],
    ids=["too large", "reserved bits"],
)
async def test_what_is_no_frame_of_ours_is_closed_with_the_code_for_it(server, frame, code):
    """After `session.created`."""
    parts = urlsplit(server.url)
    async with asyncio.timeout(30):
        reader, writer = await raw_upgrade(parts.hostname, parts.port, "/v1/realtime")
        writer.write(frame)
        data = await reader.read()
        assert data.rindex(struct.pack("!H", code))
        writer.close()


async def test_keys_are_taken_wherever_clients_put_them(tmp_path):
    """Headers, subprotocols, and secrets that are good for the socket alone."""
    env, key = {"API_KEY": "secret-of-sixteen"}, "secret-of-sixteen"
    with running_server(tmp_path, config=CONFIG, env=env) as server:
        async with session() as http, asyncio.timeout(60):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with realtime(http, server.url, headers={"api-key": "wrong"}):
                    pass
            assert caught.value.status == 401
            offered = ("realtime", f"openai-insecure-api-key.{key}")
            for headers, protocols in (
                ({"Authorization": f"Bearer {key}"}, ()),
                ({}, (f"openai-insecure-api-key.{key}",)),
                ({"api-key": key}, ()),
                ({"Origin": "https://page.example"}, offered),
            ):
                async with realtime(
                    http, server.url, headers=headers, protocols=protocols
                ) as client:
                    wanted = "realtime" if "realtime" in protocols else None
                    assert client.socket.protocol == wanted
            async with official(server.url, key) as client:
                secret = await client.realtime.client_secrets.create(
                    expires_after={"anchor": "created_at", "seconds": 60},
                    session={
                        "type": "transcription",
                        "audio": {"input": {"transcription": {"model": "one", "language": "en"}}},
                    },
                )
            assert secret.value.startswith("ek_")
            assert secret.session.audio.input.transcription.model == "one"
            async with official(server.url, secret.value) as client:
                async with client.realtime.connect() as connection:
                    created = await connection.recv()
                    assert created.session.audio.input.transcription.language == "en"
                with pytest.raises(openai.AuthenticationError):
                    await client.models.list()
    logged = json.dumps(server.log)
    assert key not in logged
    assert secret.value not in logged


async def test_a_page_of_another_site_may_not_listen_without_a_key(server, http):
    """As for the other WebSocket."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with realtime(http, server.url, headers={"Origin": "https://evil.example"}):
            pass
    assert caught.value.status == 403
    async with http.get(f"{server.url}/v1/realtime") as response:
        assert response.status == 400


async def test_a_session_ends_in_time(tmp_path):
    """With an error that says so, and 1001."""
    config = f"{CONFIG}[live]\nmax_session_s = 0.5\n"
    with running_server(tmp_path, config=config) as server:
        async with (
            session() as http,
            asyncio.timeout(60),
            realtime(http, server.url) as client,
        ):
            assert (await client.error())["code"] == "session_expired"
            message = await client.socket.receive()
            assert message.data == 1001
            assert message.extra == "invalid_request_error.session_expired"


async def test_a_server_that_stops_tells_what_it_has_heard(tmp_path):
    """1012: clients come back after it."""
    with running_server(tmp_path, config=CONFIG) as server:
        async with session() as http, asyncio.timeout(60):
            async with realtime(http, server.url) as client:
                await client.update(turn_detection=None)
                await client.append(pcm24(HELLO))
                await client.send("input_audio_buffer.commit")
                await client.until("input_audio_buffer.committed")
                stopping = begun(asyncio.to_thread(server.stop))
                assert (await client.completed())["transcript"] == "hello world"
                while (message := await client.socket.receive()).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert message.data == 1012
            assert await stopping == 0
