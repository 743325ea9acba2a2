"""Realtime sockets of clients and engines that misbehave. The rest: tests/whole."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.api_app import GOOD, Setup
from support.realtime_client import realtime
from whisper_router.api.deps import LiveLimits
from whisper_router.api.realtime.socket import close_code
from whisper_router.errors import (
    EngineStartFailed,
    ModelUnavailable,
    QueueTimeout,
    RouterError,
    TooManySessions,
)
from whisper_router.live.events import Confirmed, LiveEvent, SpeechStarted
from whisper_router.live.turns import TurnOptions
from whisper_router.live.words import LiveWord

LONG = LiveWord(text=" word" * 50_000, start_s=0, end_s=1, probability=1)


class Talker:
    """Sessions that hear one long word after the other without an end, or fail."""

    duration_s = silence_s = 0.0
    is_speaking = False
    turns = TurnOptions()

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, asyncio.Event()

    def check(self, request) -> None:
        """Find nothing wrong."""

    @asynccontextmanager
    async def open(self, request) -> AsyncIterator["Talker"]:
        if isinstance(self.error, TooManySessions):
            raise self.error
        try:
            yield self
        finally:
            self.closed.set()

    def tune(self, turns) -> None:
        """Change nothing."""

    def expect(self, request) -> None:
        """Change nothing."""

    async def hear(self, samples) -> None:
        """Hear nothing."""

    async def cut(self) -> None:
        """Go on talking."""

    clear = end = cut

    async def events(self) -> AsyncIterator[LiveEvent]:
        yield SpeechStarted(utterance=1, at_s=0)
        while True:
            if self.error is not None:
                raise self.error
            yield Confirmed(utterance=1, words=[LONG])
            await asyncio.sleep(0)


async def test_a_client_that_does_not_read_is_cut_off(start, logs):
    """Its session is closed and its connection gone, without a wait for its goodbye."""
    talker = Talker()
    setup = Setup(live=talker, live_limits=LiveLimits(write_timeout_s=0.2))
    async with start(setup) as api, asyncio.timeout(20):
        client = socket.create_connection((api.host, api.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        frame = b"\x82\x82\x00\x00\x00\x00\x01\x01"  # a sample, masked with zeros
        client.sendall(
            b"GET /v1/realtime HTTP/1.1\r\nHost: router\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + frame
        )
        await talker.closed.wait()
        client.close()
    assert [entry["event"] for entry in logs].count("realtime_client_left") >= 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RouterError("The server had an error."), 1011),
        (TooManySessions("There is one already."), 1013),
    ],
)
async def test_a_session_that_cannot_go_on_says_why_and_closes(start, http, error, code):
    """The error is an event, the code says whether to come back."""
    async with (
        start(Setup(live=Talker(error))) as api,
        asyncio.timeout(20),
        realtime(http, f"http://{api.host}:{api.port}", model=GOOD) as client,
    ):
        await client.socket.send_bytes(bytes(4800))
        while (event := await client.receive())["type"] != "error":
            pass
        assert event["error"]["message"] == str(error)
        message = await client.socket.receive()
        assert message.data == code
        assert message.extra == f"{error.kind}.{error.code}"


async def test_a_bug_is_closed_with_1011(start, http):
    """Nobody waits for ever; the log has the trace."""
    async with (
        start(Setup(live=Talker(ZeroDivisionError()))) as api,
        asyncio.timeout(20),
        realtime(http, f"http://{api.host}:{api.port}", model=GOOD) as client,
    ):
        await client.socket.send_bytes(bytes(4800))
        while (message := await client.socket.receive()).type.name == "TEXT":
            pass
        assert message.data == 1011


def test_codes_say_whether_to_come_back():
    """1013 for what passes."""
    for error in (TooManySessions("x"), QueueTimeout("x"), ModelUnavailable("x")):
        assert close_code(error) == 1013
    assert close_code(EngineStartFailed("x")) == 1011
