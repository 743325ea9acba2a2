"""A realtime session over the demo model, without a socket."""

import asyncio
import base64
import gc
import json
import weakref
from contextlib import asynccontextmanager

import pytest

from support.in_process import settings_in
from support.processes import begun
from support.realtime_client import TRANSCRIPTION, pcm24
from whisper_router.api.realtime.handshake import usual_config
from whisper_router.api.realtime.order import SessionOrder
from whisper_router.api.realtime.session import RealtimeSession, error_event
from whisper_router.app import build_router
from whisper_router.directory import Directory
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import TooManySessions

HELLO = "en_hello_gb"


@pytest.fixture
async def router(tmp_path, blocking_calls_fail):
    """A whole router, which may block while it is built; its model may have one session."""
    blocking_calls_fail.deactivate()
    models = {"demo": {"model": "demo", "max_sessions": 1}}
    async with build_router(settings_in(tmp_path, models=models)) as router:
        yield router


class Client:
    """Talks to a session and collects what it is sent."""

    def __init__(self, session: RealtimeSession, told: "asyncio.Queue") -> None:
        self.session, self._told = session, told

    async def send(self, kind: str, **fields) -> None:
        await self.session.take(json.dumps({"type": kind, **fields}).encode())

    async def append(self, audio: bytes) -> None:
        encoded = base64.b64encode(audio).decode()
        await self.send("input_audio_buffer.append", audio=encoded)

    async def update(self, **audio_input) -> None:
        session = {"type": "transcription", "audio": {"input": audio_input}}
        await self.send("session.update", session=session)
        await self.until("session.updated")

    async def until(self, kind: str):
        async with asyncio.timeout(30):
            while (event := await self._told.get())["type"] != kind:
                assert event["type"] != "error", event
        return event

    async def until_error(self):
        async with asyncio.timeout(30):
            while (event := await self._told.get())["type"] != "error":
                pass
        return event


@asynccontextmanager
async def talking(router, *, is_beta: bool = False):
    """Begin a session with the demo model, and end it with the block."""
    told: asyncio.Queue = asyncio.Queue()

    async def send(events) -> None:
        for event in events:
            told.put_nowait(event)

    config = usual_config(router.live.turns, model="demo")
    order = SessionOrder(
        config=config,
        defaults=config,
        request=TranscriptionRequest(model="", request_id="r"),
        expires_at=7,
        is_beta=is_beta,
    )
    session = RealtimeSession(order, live=router.live, models=Directory(router), send=send)
    telling = begun(session.tell())
    try:
        await session.begin()
        yield Client(session, told)
    finally:
        telling.cancel()
        await asyncio.wait([telling])
        await session.close()


async def test_a_turn_from_its_first_byte_to_its_transcript(router):
    """Cut in odd places; binary messages are audio, too."""
    audio = pcm24(HELLO)
    async with talking(router) as client:
        created = await client.until("session.created")
        assert created["session"]["expires_at"] == 7
        await client.update(turn_detection=None)
        await client.append(audio[:4801])
        await client.session.take_audio(audio[4801:])
        await client.send("input_audio_buffer.commit")
        done = await client.until(f"{TRANSCRIPTION}.completed")
        assert done["transcript"] == "hello world"
        assert done["usage"]["seconds"] == pytest.approx(len(audio) / 48_000, abs=0.001)
    assert router.live.running() == {}


async def test_a_session_that_was_closed_keeps_no_audio(router):
    """Without waiting for the garbage collector, which comes by when it likes."""
    gc.disable()
    try:
        async with talking(router) as client:
            await client.append(pcm24(HELLO))
            run = weakref.ref(client.session._leg.run)
            audio = weakref.ref(client.session._log)
        assert run() is None
        assert audio() is None
    finally:
        gc.enable()


async def test_the_end_makes_everything_final(router):
    """In speech; then nothing more is told."""
    async with talking(router) as client:
        await client.append(pcm24(HELLO))
        await client.session.end()
        assert (await client.until(f"{TRANSCRIPTION}.completed"))["transcript"] == "hello world"


async def test_no_model_has_a_session_before_somebody_speaks_or_configures(router):
    """A connection that only waits takes nobody's place."""
    async with talking(router) as idle, talking(router) as busy:
        assert router.live.running() == {}
        await busy.update(transcription={"language": "en"})
        assert router.live.running() == {"demo": 1}
        with pytest.raises(TooManySessions):
            await idle.append(pcm24(HELLO))


async def test_an_update_that_cannot_be_changes_nothing(router):
    """The session goes on as it was."""
    async with talking(router) as client:
        await client.update(transcription={"language": "en"}, turn_detection=None)
        for wrong in ({"transcription": {"model": "x"}}, {"turn_detection": {"type": "x"}}):
            session = {"type": "transcription", "audio": {"input": wrong}}
            await client.send("session.update", session=session, event_id="e1")
            error = (await client.until_error())["error"]
            assert error["event_id"] == "e1"
        await client.append(pcm24(HELLO))
        await client.send("input_audio_buffer.commit")
        assert (await client.until(f"{TRANSCRIPTION}.completed"))["transcript"] == "hello world"


async def test_commits_and_clears_without_a_session_need_none(router):
    """Nothing is there to be committed, and nothing to be cleared."""
    async with talking(router) as client:
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await client.send("input_audio_buffer.commit")
        error = (await client.until_error())["error"]
        assert error["code"] == "input_audio_buffer_commit_empty"
        assert router.live.running() == {}


async def test_a_beta_client_is_answered_in_its_shape(router):
    """From the first event on."""
    async with talking(router, is_beta=True) as client:
        created = await client.until("transcription_session.created")
        assert created["session"]["input_audio_format"] == "pcm16"


def test_an_error_is_an_event():
    """With the id of the client's event, if that was a string."""
    event = error_event(TooManySessions("One is there."), "e7")
    assert event["error"] == {
        "message": "One is there.",
        "type": "requests",
        "param": None,
        "code": "too_many_sessions",
        "event_id": "e7",
    }
    assert error_event(TooManySessions("x"), 7)["error"]["event_id"] is None
