"""Live sockets whose client or engine does not behave. The rest: tests/whole/test_live_ws.py."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.api_app import GOOD, Setup
from support.live_client import connected, told
from whisper_router.api.deps import LiveLimits
from whisper_router.errors import (
    AudioRejected,
    EngineStartFailed,
    ModelUnavailable,
    QueueTimeout,
    RouterError,
)
from whisper_router.live.events import Confirmed, LiveEvent
from whisper_router.live.words import LiveWord

LONG = LiveWord(text=" word" * 50_000, start_s=0, end_s=1, probability=1)


class Talker:
    """A session that hears one long word after the other without an end, or fails."""

    duration_s = silence_s = 0.0

    def __init__(self, error: RouterError | None = None) -> None:
        self.error, self.closed = error, asyncio.Event()

    @asynccontextmanager
    async def open(self, request) -> AsyncIterator["Talker"]:
        try:
            yield self
        finally:
            self.closed.set()

    async def hear(self, samples) -> None:
        """Hear nothing."""

    async def end(self) -> None:
        """Go on talking."""

    async def events(self) -> AsyncIterator[LiveEvent]:
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
        client.sendall(
            f"GET /v1/audio/transcriptions?model={GOOD} HTTP/1.1\r\nHost: router\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        await talker.closed.wait()
        client.close()
    assert [entry["event"] for entry in logs].count("live_client_does_not_read") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AudioRejected("The engine crashed twice."), 1011),
        (EngineStartFailed("It ended with SIGILL."), 1011),
        (QueueTimeout("No worker was free."), 1013),
        (ModelUnavailable("Fetch it first. " + "ä" * 200), 1013),
    ],
)
async def test_an_error_after_the_upgrade_is_a_close_code_with_its_reason(
    start, http, logs, error, code
):
    """1013 where a later try may succeed. The reason is cut between two characters."""
    talker = Talker(error)
    async with start(Setup(live=talker)) as api, asyncio.timeout(20):
        async with connected(http, f"http://{api.host}:{api.port}", model=GOOD) as client:
            message = await client.receive()
            assert (message.data, client.close_code) == (code, code)
            assert message.extra.startswith(f"{error.code}: {str(error)[:10]}")
            assert await told(client) == []
        await talker.closed.wait()
    [line] = [line for line in logs if line["event"] == "request_done"]
    assert (line["status"], line["code"], line["client"]) == (101, error.code, "127.0.0.1")
