"""Wyoming's connections with clients and sessions that do not behave, and its pure parts.

The rest: tests/whole/test_wyoming.py. Of `whisper_router.api.wyoming` these are
`whisper_router.api.wyoming.service`, `whisper_router.api.wyoming.dictation` and
`whisper_router.api.wyoming.connection`.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping

from support.api_app import GOOD, Names
from support.wyoming_client import begin, connected, dictate, kinds, raw, send, stop, text_in, told
from whisper_router.api.services import ServiceInfo
from whisper_router.api.wyoming.address import Address, TcpAddress, UnixAddress, parse_uri
from whisper_router.api.wyoming.announcement import announce, require_zeroconf
from whisper_router.api.wyoming.info import SpeechModel, describe
from whisper_router.api.wyoming.listener import WyomingListener
from whisper_router.api.wyoming.order import MAX_HOTWORDS, parse_transcribe
from whisper_router.api.wyoming.service import WyomingLimits, WyomingService
from whisper_router.api.wyoming.text import StreamedText
from whisper_router.api.wyoming.wire import BadEvent
from whisper_router.errors import (
    ConfigurationError,
    EngineStartFailed,
    InvalidParameter,
    ModelNotFound,
    RouterError,
    TooManySessions,
)
from whisper_router.live.events import Confirmed, Failed, Final, LiveEvent
from whisper_router.live.words import LiveWord

ABOUT = ServiceInfo(name="whisper-router", version="1.2.3", docs="docs")
CHUNK = (
    b'{"type": "audio-chunk", "payload_length": 4, '
    b'"data": {"rate": 16000, "width": 2, "channels": 1}}\nabcd'
)
FREE = TcpAddress(host="127.0.0.1", port=0)


def word(text: str) -> LiveWord:
    return LiveWord(text=text, start_s=0, end_s=1, probability=1)


def confirmed(*texts: str, utterance: int = 1) -> Confirmed:
    return Confirmed(utterance=utterance, words=[word(text) for text in texts])


class Scripted:
    """Sessions that tell `events` once their audio is over, or fail; `requests` has the orders."""

    duration_s = 0.0

    def __init__(self, *events: LiveEvent, refusal: Exception | None = None) -> None:
        self.events_to_tell, self.refusal = events, refusal
        self.requests, self.heard = [], 0
        self.opened, self.over, self.closed = (asyncio.Event() for _ in range(3))

    @asynccontextmanager
    async def open(self, request) -> AsyncIterator["Scripted"]:
        self.requests.append(request)
        if isinstance(self.refusal, RouterError):
            raise self.refusal
        self.opened.set()
        self.closed.clear()
        try:
            yield self
        finally:
            self.closed.set()

    async def hear(self, samples) -> None:
        self.heard += len(samples)

    async def end(self) -> None:
        self.over.set()

    async def events(self) -> AsyncIterator[LiveEvent]:
        await self.over.wait()
        self.over.clear()
        if self.refusal is not None:
            raise self.refusal
        for event in self.events_to_tell:
            yield event


class Talking(Scripted):
    """Says one long word after the other without an end."""

    async def events(self) -> AsyncIterator[LiveEvent]:
        while True:
            yield confirmed(" word" * 50_000)
            await asyncio.sleep(0)


class Full(Scripted):
    """Has no room for audio, never will have, and does not end."""

    async def hear(self, samples) -> None:
        await asyncio.Event().wait()

    async def end(self) -> None:
        """Go on."""


class Speakers(Names):
    """The made-up aliases, with languages."""

    async def speech_models(self) -> Sequence[SpeechModel]:
        return [SpeechModel(name=GOOD, languages=["en", "de"], is_installed=True)]


@asynccontextmanager
async def listening(
    live: Scripted, address: Address = FREE, *, grace_s: float = 5.0, **limits: float
) -> AsyncIterator[str]:
    """Listen with those sessions; yield where."""
    listener = WyomingListener(
        WyomingService(about=ABOUT, live=live, models=Speakers(), limits=WyomingLimits(**limits))
    )
    bound = await listener.open(address, socket_mode=0o660)
    try:
        async with asyncio.timeout(30):
            yield bound.uri
    finally:
        await listener.close(grace_s)


async def test_the_order_goes_to_the_session_and_holds_once():
    """Names come before terms; without an order it is the default model and any language."""
    live = Scripted(confirmed(" yes"))
    order = {"language": "pt-BR", "transcript_terms": ["b, c", "<x>"], "transcript_names": [" a "]}
    async with listening(live) as uri, connected(uri) as client:
        assert text_in(await dictate(client, bytes(64), **order)) == "yes"
        await client.write_event(AudioChunk(16_000, 2, 1, bytes(64)).event())
        await stop(client)
        assert text_in(await told(client)) == "yes"
    first, second = live.requests
    assert (first.model, first.language, first.hotwords) == (GOOD, "pt", ("a", "b, c"))
    assert (second.model, second.language, second.hotwords) == (GOOD, None, ())
    assert first.request_id != second.request_id
    assert live.heard == 64


async def test_an_order_may_come_after_the_audio_was_announced():
    """As long as nothing was heard."""
    live = Scripted(confirmed(" yes"))
    async with listening(live) as uri, connected(uri) as client:
        await begin(client)
        await client.write_event(Transcribe(language="de").event())
        await send(client, bytes(64))
        await stop(client)
        assert text_in(await told(client)) == "yes"
    (request,) = live.requests
    assert request.language == "de"


async def test_audio_that_begins_again_is_begun_anew():
    """Its session is given up."""
    live = Scripted(confirmed(" yes"))
    async with listening(live) as uri, connected(uri) as client:
        await begin(client)
        await send(client, bytes(64))
        await live.opened.wait()
        assert text_in(await dictate(client, bytes(64))) == "yes"
    assert len(live.requests) == 2


@pytest.mark.parametrize(
    "live",
    [
        lambda error: Scripted(refusal=error),
        lambda error: Scripted(
            confirmed(" a"), Failed(utterance=1, start_s=0, end_s=1, error=error)
        ),
    ],
    ids=["at once", "later"],
)
@pytest.mark.parametrize("error", [TooManySessions("No more."), EngineStartFailed("SIGILL.")])
async def test_a_session_that_fails_is_told_of_and_the_next_may_come(live, error):
    """With text and code; its session has ended by then."""
    session = live(error)
    async with listening(session) as uri, connected(uri) as client:
        for _ in range(2):
            events = await dictate(client, bytes(64))
            told_error = Error.from_event(events[-1])
            assert (told_error.text, told_error.code) == (str(error), error.code)
            assert session.closed.is_set() or not session.opened.is_set()
        assert (await dictate(client, bytes(64), name="nothing"))[-1].type == "error"
        await client.write_event(Ping(text="still there?").event())
        assert (await client.read_event()).type == "pong"


async def test_after_an_error_the_connection_ends_if_nothing_else_comes():
    """Also when the request was refused: some clients wait for a transcript or the end."""
    async with listening(Scripted()) as uri, connected(uri) as client:
        await dictate(client, bytes(64), name="nothing")
        assert await client.read_event() is None


async def test_a_bug_ends_the_connection(logs):
    """Who waits for an answer does not wait for ever; the log has the details."""
    live = Scripted(refusal=ZeroDivisionError("secret of the house"))
    async with listening(live) as uri, connected(uri) as client:
        assert await dictate(client, bytes(64)) == []
    assert live.closed.is_set()
    assert [entry["event"] for entry in logs].count("background_task_failed") == 1


async def test_who_keeps_audio_waiting_too_long_has_finished():
    """All waiting counts: small pieces now and then do not help."""
    live = Scripted(confirmed(" yes"))
    async with listening(live, max_audio_s=0.3) as uri, connected(uri) as client:
        await begin(client)
        sending = asyncio.get_running_loop().create_task(_trickle(client))
        assert text_in(await told(client)) == "yes"
        sending.cancel()
        assert live.closed.is_set()


async def _trickle(client) -> None:
    while True:
        await send(client, bytes(2))
        await asyncio.sleep(0.02)


async def test_who_does_not_read_is_cut_off(logs):
    """Its session is closed and its connection gone."""
    live = Talking()
    async with listening(live, write_timeout_s=0.2) as uri:
        with raw(uri) as client:
            client.sendall(CHUNK)
            await live.opened.wait()
            await live.closed.wait()
    assert [entry["event"] for entry in logs].count("wyoming_client_does_not_read") == 1


async def test_who_leaves_while_nothing_is_read_is_noticed():
    """Its session has no room; what it has sent besides is not even read."""
    live = Full()
    async with listening(live) as uri:
        with raw(uri) as client:
            client.sendall(CHUNK * 100)
            await live.opened.wait()
            assert not live.closed.is_set()
        await live.closed.wait()


async def test_one_client_too_many_is_refused():
    """Until another one has left."""
    async with (
        listening(Scripted(), max_connections=1) as uri,
        connected(uri) as first,
        connected(uri) as second,
    ):
        assert Error.from_event(await second.read_event()).code == "too_many_open_files"
        assert await second.read_event() is None
        await first.write_event(Ping().event())
        assert (await first.read_event()).type == "pong"


async def test_a_session_that_does_not_end_in_time_is_cut_off_when_the_server_stops():
    live = Full()
    async with listening(live, grace_s=0.2) as uri:
        client = raw(uri)
        client.sendall(CHUNK)
        await live.opened.wait()
    assert live.closed.is_set()
    assert client.recv(1) == b""
    client.close()


async def test_answers_are_utf8_whatever_was_asked():
    """JSON may hold half a character, UTF-8 may not."""
    async with listening(Scripted()) as uri, connected(uri) as client:
        client._writer.write(b'{"type": "ping", "data": {"text": "\\ud800!"}}\n')
        assert (await client.read_event()).data == {"text": "?!"}


async def test_it_tells_of_its_models():
    async with listening(Scripted()) as uri, connected(uri) as client:
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
    assert info == describe(ABOUT, await Speakers().speech_models())
    (program,) = info.asr
    assert (program.version, program.models[0].languages) == ("1.2.3", ["en", "de"])


async def test_an_address_that_cannot_be_used_is_an_error_of_the_configuration(tmp_path):
    """A port in use, a socket file of a server that lives, a file that is none, a long path."""
    plain = tmp_path / "file"
    plain.write_text("precious")
    here = UnixAddress(path=tmp_path / "wyoming.sock")
    async with listening(Scripted()) as uri, listening(Scripted(), here):
        for address in (
            parse_uri(uri),
            here,
            UnixAddress(path=plain),
            UnixAddress(path=tmp_path / ("x" * 200)),
            UnixAddress(path=tmp_path / "no" / "wyoming.sock"),
        ):
            with pytest.raises(ConfigurationError, match=r"wyoming\.uri: cannot listen on"):
                async with listening(Scripted(), address):
                    pass
    assert plain.read_text() == "precious"
    assert not here.path.exists()


async def test_a_socket_file_that_another_server_has_put_in_its_place_stays(tmp_path):
    here = UnixAddress(path=tmp_path / "wyoming.sock")
    async with listening(Scripted(), here):
        here.path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(here.path))
    assert here.path.is_socket()


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("tcp://127.0.0.1:10300", TcpAddress(host="127.0.0.1", port=10300)),
        ("tcp://[::1]:0", TcpAddress(host="::1", port=0)),
        ("unix:///run/wyoming.sock", UnixAddress(path=Path("/run/wyoming.sock"))),
    ],
)
def test_addresses_are_read_as_they_are_written(uri, address):
    assert parse_uri(uri) == address
    assert address.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "tcp://127.0.0.1",
        "tcp://:1",
        "tcp://a:99999",
        "tcp://a:1/x",
        "unix://run/x",
        "stdio://",
        "x",
    ],
)
def test_what_is_no_address_is_told(uri):
    with pytest.raises(ValueError, match="'"):
        parse_uri(uri)


def test_text_is_streamed_in_pieces_that_make_the_transcript():
    """Utterances are separated by a space; nothing stands before the first or after the last."""
    text = StreamedText(None)
    items = [
        *text.take(confirmed(" one", " two")),
        *text.take(confirmed(",", " three")),
        *text.take(Final(utterance=1, start_s=0, end_s=1, words=[], language="en")),
        *text.take(confirmed("四", "五", utterance=2)),
        *text.end(),
    ]
    events = [item.event() for item in items]
    assert kinds(events)[0] == "transcript-start"
    assert [event.data["text"] for event in events[1:4]] == ["one two", ", three", " 四五"]
    assert events[4].data == {"text": "one two, three 四五", "language": "en"}
    assert kinds(events)[5:] == ["transcript-stop"]


def test_orders_are_bounded_and_must_have_the_right_types():
    many = Transcribe(transcript_names=[f"name {number}" for number in range(10_000)]).event()
    assert len(parse_transcribe(many, request_id="").hotwords) == MAX_HOTWORDS
    for data in ({"name": 1}, {"language": []}, {"transcript_terms": [1]}):
        with pytest.raises(BadEvent):
            parse_transcribe(Event(type="transcribe", data=data), request_id="")
    with pytest.raises(InvalidParameter):
        parse_transcribe(Transcribe(language="klingon").event(), request_id="")
    with pytest.raises(ModelNotFound):
        Speakers().check("nothing")


def test_without_the_package_zeroconf_that_is_an_error_of_the_configuration(monkeypatch):
    require_zeroconf()
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    with pytest.raises(ConfigurationError, match=r"whisper-router\[zeroconf\]"):
        require_zeroconf()


async def test_what_cannot_be_announced_is_in_the_log(logs):
    """A name that is too long for it; the server goes on."""
    async with asyncio.timeout(20):
        await announce(TcpAddress(host="127.0.0.1", port=1), "ä" * 40)
    (entry,) = (entry for entry in logs if entry["event"] == "wyoming_not_announced")
    assert entry["reason"]


async def test_an_end_of_audio_without_audio_is_an_empty_transcript():
    """Not even a session is opened."""
    live = Scripted(confirmed(" yes"))
    async with listening(live) as uri, connected(uri) as client:
        await client.write_event(AudioStop().event())
        assert text_in(await told(client)) == ""
    assert live.requests == []
