"""Reading a WebSocket ahead."""

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from support.live_client import raw_upgrade
from support.processes import begun
from whisper_router.api.inbox import MAX_WAITING_BYTES, Inbox


@contextlib.asynccontextmanager
async def inboxes(**options: float):
    """Serve a WebSocket; yield its port and a queue of the inboxes that are made."""
    made: asyncio.Queue[tuple[Inbox, web.WebSocketResponse]] = asyncio.Queue()
    over = asyncio.Event()

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await socket.prepare(request)
        inbox = Inbox(socket, **options)
        tasks = [begun(inbox.read()), begun(inbox.keep_alive())]
        made.put_nowait((inbox, socket))
        await over.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestServer(app) as server, asyncio.timeout(20):
        try:
            yield server.port, made
        finally:
            over.set()


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as http:
        yield http


async def test_messages_come_in_order_and_pings_are_answered_between_them(http):
    """Though nobody takes the messages meanwhile."""
    async with (
        inboxes() as (port, made),
        http.ws_connect(f"http://127.0.0.1:{port}/", autoping=False) as socket,
    ):
        for number in range(3):
            await socket.send_bytes(bytes([number]))
        await socket.ping(b"here?")
        pong = await socket.receive()
        assert (pong.type, pong.data) == (WSMsgType.PONG, b"here?")
        inbox, _ = await made.get()
        assert [(await inbox.receive()).data for _ in range(3)] == [b"\0", b"\1", b"\2"]


async def test_a_goodbye_overtakes_what_waits(http):
    """What was sent before it is of no use to anybody."""
    async with (
        inboxes() as (port, made),
        http.ws_connect(f"http://127.0.0.1:{port}/") as socket,
    ):
        await socket.send_bytes(b"audio")
        inbox, _ = await made.get()
        closing = begun(socket.close())
        await inbox._changed.wait()
        while (message := await inbox.receive()).type is WSMsgType.BINARY:
            pass
        assert message.type is WSMsgType.CLOSE
        await closing


async def test_so_much_may_wait_and_no_more(http):
    """Then the client is held back, until something is taken."""
    async with (
        inboxes() as (port, made),
        http.ws_connect(f"http://127.0.0.1:{port}/", max_msg_size=0) as socket,
    ):
        inbox, _ = await made.get()
        block, sent = bytes(1 << 20), 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(64):
                await socket.send_bytes(block)
                sent += 1

        flooding = begun(flood())
        while inbox._waiting_bytes <= MAX_WAITING_BYTES:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        assert inbox._waiting_bytes <= MAX_WAITING_BYTES + (1 << 20)
        assert not flooding.done()
        for _ in range(64):
            assert len((await inbox.receive()).data) == 1 << 20
        await flooding


async def test_messages_without_content_are_not_free(http):
    """Millions of them would be memory, too."""
    async with (
        inboxes() as (port, made),
        http.ws_connect(f"http://127.0.0.1:{port}/") as socket,
    ):
        await socket.send_bytes(b"")
        inbox, _ = await made.get()
        await inbox._changed.wait()
        assert inbox._waiting_bytes > 100
        await inbox.receive()
        assert inbox._waiting_bytes == 0


async def test_a_client_that_answers_no_ping_is_let_go():
    """It is there, and says nothing."""
    async with inboxes(ping_s=0.01, pong_s=0.05) as (port, made):
        _, writer = await raw_upgrade("127.0.0.1", port, "/")
        inbox, _ = await made.get()
        assert (await inbox.receive()).type is WSMsgType.CLOSED
        writer.close()


async def test_a_client_that_answers_pings_may_say_nothing(http):
    """For as long as it likes."""
    async with (
        inboxes(ping_s=0.01, pong_s=5) as (port, made),
        http.ws_connect(f"http://127.0.0.1:{port}/", autoping=False) as socket,
    ):
        for _ in range(5):
            assert (await socket.receive()).type is WSMsgType.PING
            await socket.pong()
        await socket.send_bytes(b"still here")
        inbox, _ = await made.get()
        assert (await inbox.receive()).data == b"still here"
