"""Live sockets whose client or engine does not behave. The rest: tests/whole/test_live_ws.py."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.api_app import GOOD, Setup
from support.live_client import connected, told
from whisper_router.api.deps import LiveLimits
from whisper_router.api.inbox import Inbox
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


class Listener(Talker):
    """A session that says nothing; `heard` is how many samples it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.heard, self.is_over = 0, asyncio.Event()

    async def hear(self, samples) -> None:
        self.heard += len(samples)

    async def end(self) -> None:
        self.is_over.set()

    async def events(self) -> AsyncIterator[LiveEvent]:
        await self.is_over.wait()
        for _ in ():
            yield _


def upgraded(host: str, port: int, query: str) -> socket.socket:
    """Return a connection that is a WebSocket from now on."""
    client = socket.create_connection((host, port), timeout=20)
    client.sendall(
        f"GET /v1/audio/transcriptions?{query} HTTP/1.1\r\nHost: router\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    assert b" 101 " in client.recv(2000).split(b"\r\n")[0]
    return client


def frame(data: bytes) -> bytes:
    """Return a binary message of less than 126 bytes; its mask changes nothing."""
    return bytes([0x82, 0x80 | len(data)]) + bytes(4) + data


async def test_what_came_while_the_server_did_not_run_is_heard(start, monkeypatch):
    """Its patience with a silent client is over by then, though the client was not silent."""
    listener, receive, calls = Listener(), Inbox.receive, 0

    async def late(inbox: Inbox):
        nonlocal calls
        calls += 1
        if calls == 2:  # the server waits for more, and is not scheduled for so long
            client.send(frame(bytes(100)) + frame(b""))
            until_s = time.monotonic() + 0.3
            while time.monotonic() < until_s:
                pass
        return await receive(inbox)

    monkeypatch.setattr(Inbox, "receive", late)
    async with start(Setup(live=listener)) as api, asyncio.timeout(20):
        query = f"model={GOOD}&no_data_s=0.1"
        client = await asyncio.to_thread(upgraded, api.host, api.port, query)
        with client:
            client.setblocking(False)
            client.send(frame(bytes(60)))
            await listener.closed.wait()
    assert listener.heard == 30 + 50


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
