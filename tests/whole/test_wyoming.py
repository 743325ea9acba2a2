"""Wyoming on the real server, with real speech and the library's own client."""

import asyncio
import json
import stat
import uuid
from difflib import SequenceMatcher
from pathlib import Path

import pytest
from wyoming.info import Describe, Info
from wyoming.ping import Ping
from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from support import freed
from support.client import session, state_of
from support.engine_processes import worker_at_work
from support.freed import ended, until_freed
from support.processes import begun
from support.server import running_server
from support.speech import sample
from support.wyoming_client import (
    PLAIN,
    audio,
    begin,
    chunks_in,
    connected,
    dictate,
    kinds,
    raw,
    send,
    stop,
    text_in,
    told,
    uri_of,
)
from whisper_router.api.wyoming.announcement import SERVICE
from whisper_router.api.wyoming.wire import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES

CONFIG = """
default_model = "demo"
[live]
write_timeout_s = 1.0
[wyoming]
uri = "tcp://127.0.0.1:0"
[models.one]
model = "demo"
max_sessions = 1
[models.english]
model = "tiny.en"
[models.broken]
path = "{broken}"
"""
HELLO, DIGITS = "en_hello_gb", "en_digits_fast"
THREE, MINUTE = "en_three_segments", "en_two_speakers_long"


def config(directory: Path) -> str:
    broken = directory / "broken.bin"
    broken.write_bytes(b"no model")
    return CONFIG.format(broken=broken)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with the demo model; `one` has one session at most, `broken` does not start."""
    directory = tmp_path_factory.mktemp("wyoming")
    with running_server(directory, config=config(directory)) as running:
        yield running


@pytest.fixture
async def client(server):
    """A client whose requests cannot hang for ever."""
    async with asyncio.timeout(100), connected(uri_of(server)) as client:
        yield client


@pytest.fixture
async def http():
    """For what the server says of itself."""
    async with session() as http:
        yield http


async def described(client) -> Info:
    await client.write_event(Describe().event())
    return Info.from_event(await client.read_event())


async def test_it_tells_of_itself_while_nothing_is_loaded(tmp_path):
    """The default model first, each by its own name. The first samples start an engine."""
    with running_server(tmp_path, config=config(tmp_path)) as server:
        async with asyncio.timeout(60), connected(uri_of(server)) as client, session() as http:
            (program,) = (await described(client)).asr
            assert (program.name, program.installed) == ("whisper-router", True)
            assert program.supports_transcript_streaming
            models = {model.name: model for model in program.models}
            assert next(iter(models)) == "demo"
            assert {"one", "english"} < models.keys()
            assert "whisper-1" not in models
            assert models["demo"].installed
            assert {"en", "de", "fr"} < set(models["demo"].languages)
            assert models["english"].languages == ["en"]
            assert not models["english"].installed, "the store is offline"
            assert models["english"].attribution.name == "ggerganov/whisper.cpp"
            await begin(client)
            await client.write_event(Ping().event())
            assert (await client.read_event()).type == "pong"
            assert (await state_of(http, server.url, "demo"))["state"] == "stopped"
            assert not any(line.get("event") == "engine_ready" for line in server.log)
            await send(client, bytes(64))
            await asyncio.to_thread(server.wait_for_log, "engine_ready")


async def test_words_are_streamed_as_they_are_confirmed(client):
    """Joined they are the transcript, which comes before the end of the stream."""
    events = await dictate(client, audio(DIGITS, PLAIN))
    chunks = chunks_in(events)
    assert len(chunks) > 1
    assert "".join(chunks) == text_in(events) == sample(DIGITS).text
    expected = ["transcript-start", *["transcript-chunk"] * len(chunks)]
    assert kinds(events) == [*expected, "transcript", "transcript-stop"]
    assert events[-2].data["language"] == "en"


@pytest.mark.parametrize(
    "form",
    [(8000, 2, 1), (16_000, 1, 1), (22_050, 2, 1), (44_100, 2, 2), (48_000, 3, 2), (48_000, 4, 2)],
)
async def test_audio_may_have_any_usual_format(client, form):
    """Rate, bytes and channels; pieces need not hold whole samples."""
    assert text_in(await dictate(client, audio(HELLO, form), form=form, size=1001)) == "hello world"


async def test_a_connection_carries_one_dictation_after_the_other(client):
    """Each with its own order, also when it is sent before the answer to the last one is read."""
    for name in (HELLO, "de_digits", HELLO):
        said = sample(name)
        await begin(client, language=said.language)
        await send(client, audio(name, PLAIN))
        await stop(client)
    for name in (HELLO, "de_digits", HELLO):
        events = await told(client)
        assert text_in(events) == sample(name).text
        assert events[-2].data["language"] == sample(name).language


async def test_others_questions_are_answered_in_between(client):
    """In the middle of the audio; kinds of events that are not for us are dropped."""
    data = audio(HELLO, PLAIN)
    await begin(client)
    await send(client, data[:8000])
    await client.write_event(Ping(text="there?").event())
    assert (await client.read_event()).data == {"text": "there?"}
    assert (await described(client)).asr
    await client.write_event(type(Ping().event())(type="select-program", data={"name": "x"}))
    await send(client, data[8000:])
    await stop(client)
    assert text_in(await told(client)) == "hello world"


@pytest.mark.parametrize("data", [b"", bytes(32_000)], ids=["no audio", "silence"])
async def test_nothing_said_is_an_empty_transcript(client, data):
    """Without audio nothing is opened for it."""
    events = await dictate(client, data)
    assert kinds(events) == ["transcript-start", "transcript", "transcript-stop"]
    assert text_in(events) == ""


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"name": "nothing"}, "model_not_found"),
        ({"language": "klingon"}, "invalid_value"),
    ],
)
async def test_what_cannot_be_done_is_answered_before_any_audio(client, order, code):
    """The audio that comes all the same is skipped, and the next dictation is served."""
    await begin(client, **order)
    (event,) = await told(client)
    assert (event.type, event.data["code"]) == ("error", code)
    await send(client, audio(HELLO, PLAIN))
    await stop(client)
    assert text_in(await dictate(client, audio(HELLO, PLAIN))) == "hello world"


async def test_who_waits_for_a_transcript_after_an_error_gets_to_its_end(client):
    """Home Assistant takes no notice of errors: the connection ends soon after the audio."""
    await dictate(client, audio(HELLO, PLAIN), name="nothing")
    assert await client.read_event() is None


async def test_one_session_too_many_is_refused_until_another_has_ended(server, http, client):
    """With the first audio: before that nobody is counted. Who has its transcript has ended."""
    before = freed.begun(server)  # an earlier session may not have ended yet
    async with connected(uri_of(server)) as other:
        await begin(other, name="one")
        await send(other, bytes(3200))
        await asyncio.to_thread(server.wait_for_log, "live_session_began", count=before + 1)
        (event,) = await dictate(client, audio(HELLO, PLAIN), name="one")
        assert event.data["code"] == "too_many_sessions"
        assert "live.max_sessions" in event.data["text"]
        await stop(other)
        assert text_in(await told(other)) == ""
        for _ in range(2):
            assert text_in(await dictate(client, audio(HELLO, PLAIN), name="one")) == "hello world"


async def test_an_engine_that_fails_is_told_of_and_the_next_one_serves(client):
    """The connection stays."""
    (event,) = await dictate(client, audio(HELLO, PLAIN), name="broken")
    assert (event.type, event.data["code"]) == ("error", "engine_start_failed")
    assert text_in(await dictate(client, audio(HELLO, PLAIN))) == "hello world"


async def test_a_killed_worker_costs_nothing_but_time(server, client):
    """What it had to hear is heard by the next."""
    await begin(client)
    sending = begun(send(client, audio(THREE, PLAIN)))
    worker = await asyncio.to_thread(worker_at_work, server)
    worker.kill()
    await sending
    await stop(client)
    assert text_in(await told(client)) == sample(THREE).text


async def test_a_flood_has_to_wait_and_loses_nothing(client):
    """Half a minute in four pieces: what cannot be heard yet is not read from the socket."""
    flood = (audio(THREE, PLAIN) + bytes(32_000)) * 4
    events = await dictate(client, flood, size=1 << 18)
    said, words = sample(THREE).text.split() * 4, text_in(events).split()
    assert SequenceMatcher(None, words, said, autojunk=False).ratio() > 0.97
    assert "".join(chunks_in(events)) == text_in(events)


@pytest.mark.parametrize("said", [0, 4000, None], ids=["at once", "while it hears", "at the end"])
async def test_who_vanishes_frees_everything(server, http, said):
    """Without a word; also when it has sent more than can be heard, and when it has sent all."""
    before, data = ended(server), audio(MINUTE, PLAIN)
    began = freed.begun(server) + 1  # an earlier session may not have ended yet
    async with asyncio.timeout(60):
        async with connected(uri_of(server)) as client:
            await begin(client, name="one")
            await send(client, data[:said] if said else data[:640])
            if said is None:
                await send(client, data)
                await stop(client)
            await asyncio.to_thread(server.wait_for_log, "live_session_began", count=began)
        await until_freed(server, http, before)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "JSON"),
        (b"[1, 2]\n", "object"),
        (b"[" * 50_000 + b"\n", "JSON"),
        (b'{"data": {}}\n', "'type'"),
        (b'{"type": "' + b"x" * MAX_HEADER_BYTES + b'"}\n', "header"),
        (b'{"type": "ping", "data_length": 10737418240}\n', "data_length"),
        (b'{"type": "ping", "data_length": -1}\n', "data_length"),
        (b'{"type": "ping", "data_length": 2}\nno', "JSON"),
        (
            b'{"type": "audio-chunk", "payload_length": %d}\n' % (MAX_PAYLOAD_BYTES + 1),
            "payload_length",
        ),
        (b'{"type": "audio-start", "data": {"rate": 16000}}\n', "channels"),
        (
            b'{"type": "audio-start", "data": {"rate": 0, "width": 2, "channels": 1}}\n',
            "0 Hz",
        ),
        (b'{"type": "transcribe", "data": {"name": 7}}\n', "name"),
        (b'{"type": "transcribe", "data": {"transcript_names": "x"}}\n', "transcript_names"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_garbage_is_answered_and_the_connection_closed(server, data, reason):
    """With a sentence that says what is wrong, which the client gets to see."""
    with raw(uri_of(server)) as client:

        def talk() -> list[bytes]:
            client.sendall(data)
            return client.makefile("rb").read().splitlines()

        head, body = await asyncio.to_thread(talk)
    assert json.loads(head)["type"] == "error"
    error = json.loads(body)
    assert error["code"] == "invalid_event"
    assert reason in error["text"]


async def test_garbage_in_the_middle_of_audio_frees_everything(server, http, client):
    """Nothing of the session is left."""
    before = ended(server)
    await begin(client, name="one")
    await send(client, audio(MINUTE, PLAIN)[:64_000])
    client._writer.write(b"\xff\xfe\n")
    assert (await told(client))[-1].data["code"] == "invalid_event"
    await until_freed(server, http, before)


async def test_who_does_not_read_is_cut_off(server, client):
    """After `live.write_timeout_s`; others do not notice."""
    with raw(uri_of(server)) as deaf:

        def ask() -> None:
            with pytest.raises(OSError):  # noqa: PT011 - reset, or a broken pipe
                while True:
                    deaf.sendall(b'{"type": "describe"}\n' * 1000)

        asking = begun(asyncio.to_thread(ask))
        assert text_in(await dictate(client, audio(HELLO, PLAIN))) == "hello world"
        await asyncio.to_thread(server.wait_for_log, "wyoming_client_does_not_read")
        await asking


async def test_audio_that_never_ends_is_taken_as_complete(tmp_path):
    """After `wyoming.max_audio_s`; what comes then is skipped until the next audio begins."""
    text = config(tmp_path).replace("[models.one]", "max_audio_s = 2.5\n[models.one]")
    with running_server(tmp_path, config=text) as server:
        async with asyncio.timeout(60), connected(uri_of(server)) as client:
            hello = audio(HELLO, PLAIN)
            await begin(client)
            await send(client, hello + bytes(64_000) + hello)
            assert text_in(await told(client)) == "hello world"
            await begin(client)
            await send(client, hello)
            assert text_in(await told(client)) == "hello world", "nothing came for so long"


async def test_a_socket_file_serves_like_a_port(tmp_path):
    """A stale one is replaced, one of a server that lives is not; its end is that of the server."""
    path = tmp_path / "wyoming.sock"
    text = config(tmp_path).replace("tcp://127.0.0.1:0", f"unix://{path}")
    with running_server(tmp_path, config=text) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        server.process.kill()
        server.process.wait()
    assert path.is_socket()
    text = text.replace("[models.one]", 'socket_mode = "600"\n[models.one]')
    with running_server(tmp_path, config=text) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with asyncio.timeout(60), connected(f"unix://{path}") as client:
            assert text_in(await dictate(client, audio(HELLO, PLAIN))) == "hello world"
        assert await asyncio.to_thread(server.stop) == 0
    assert not path.exists()


async def test_a_server_that_stops_tells_what_it_has_heard(tmp_path):
    """The transcript without an end of the audio; who waits for nothing is not waited for."""
    with running_server(tmp_path, config=config(tmp_path)) as server:
        uri = uri_of(server)
        async with asyncio.timeout(60), connected(uri) as client, connected(uri) as idle:
            await begin(client)
            await send(client, audio(THREE, PLAIN))
            assert (await client.read_event()).type == "transcript-start"
            stopping = begun(asyncio.to_thread(server.stop))
            assert text_in(await told(client)) == sample(THREE).text
            assert await client.read_event() is None
            assert await idle.read_event() is None
            assert await stopping == 0


async def test_home_assistant_finds_the_server_in_the_local_network(tmp_path):
    """By its service type; when it stops it says goodbye."""
    own = f"Test {uuid.uuid4().hex[:8]} of whisper-router"  # other tests may run on this machine
    extra = f'zeroconf = true\nzeroconf_name = "{own}"\n[models.one]'
    text = config(tmp_path).replace("[models.one]", extra)
    name = f"{own}.{SERVICE}"
    changes: asyncio.Queue[tuple[str, ServiceStateChange]] = asyncio.Queue()

    def note(*, name: str, state_change: ServiceStateChange, **_: object) -> None:
        changes.put_nowait((name, state_change))

    async with (
        asyncio.timeout(60),
        AsyncZeroconf(interfaces=["127.0.0.1"], ip_version=IPVersion.V4Only) as finder,
        AsyncServiceBrowser(finder.zeroconf, [SERVICE], handlers=[note]),
    ):
        with running_server(tmp_path, config=text) as server:
            while await changes.get() != (name, ServiceStateChange.Added):
                pass
            service = AsyncServiceInfo(SERVICE, name)
            assert await service.async_request(finder.zeroconf, 10_000)
            (address,) = service.parsed_addresses()
            async with connected(f"tcp://{address}:{service.port}") as client:
                assert (await described(client)).asr
            assert await asyncio.to_thread(server.stop) == 0
            while await changes.get() != (name, ServiceStateChange.Removed):
                pass
