"""Connections that are slow, that do not read, and that are too many."""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator

import pytest

from support.api_app import Api, Setup, Start
from support.own_time import pass_s
from whisper_router.api.connection import ConnectionLimits
from whisper_router.api.crowd import CrowdLimits

LIMIT_S = 15
HEALTH = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n"
BEGUN = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)
LIMITS = ConnectionLimits(header_timeout_s=5, write_timeout_s=5)


class Client:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: bytes = HEALTH) -> int:
        """Send a request; return the status of the answer."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await self.reader.readexactly(int(length.split(b":")[1]))
        return int(head.split()[1])

    async def closed(self) -> bool:
        """Return once the server has closed the connection."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read() == b""
        return True


@contextlib.asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield Client(reader, writer)
    finally:
        writer.close()


@pytest.mark.own_time
@pytest.mark.parametrize("before", [0, 1], ids=["first request", "second request"])
async def test_headers_that_trickle_are_ended_by_a_deadline_for_all_of_them(
    start: Start, before: int
):
    """A byte now and then must not keep a connection for ever, nor as long as keep-alive."""
    async with start(Setup(connections=LIMITS)) as api, connected(api) as client:
        for _ in range(before):
            assert await client.ask() == 200
        async with asyncio.TaskGroup() as group:
            drip = group.create_task(_trickle(client.writer))
            assert await client.closed()
            drip.cancel()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n")
        while True:
            await asyncio.sleep(0.02)
            writer.write(b"X")
            pass_s(0.5)  # the pace of the attack


@pytest.mark.own_time
async def test_a_connection_between_requests_is_kept_longer_than_headers_may_take(start: Start):
    """The deadline begins with the first byte of a request."""
    async with start(Setup(connections=LIMITS)) as api, connected(api) as client:
        assert await client.ask() == 200
        pass_s(LIMITS.header_timeout_s + 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.reader.read(1)
        assert await client.ask() == 200


async def test_who_does_not_read_is_cut_off(start: Start):
    """What fits into the system's buffers costs us nothing; the rest would stay for ever."""
    async with start(Setup(connections=ConnectionLimits(write_timeout_s=0.3))) as api:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((api.host, api.port))
            client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n" * 100)
            poll = select.poll()
            poll.register(client, select.POLLERR | select.POLLHUP)
            assert await asyncio.to_thread(poll.poll, LIMIT_S * 1000)


async def test_idle_connections_give_way_to_who_comes(start: Start):
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(start(Setup(crowd=CrowdLimits(most=3))))
        idle = [await stack.enter_async_context(connected(api)) for _ in range(3)]
        assert [await client.ask() for client in idle] == [200] * 3
        assert await idle[0].ask() == 200
        late = await stack.enter_async_context(connected(api))
        assert await late.ask(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n") == 200
        assert await idle[1].closed()
        assert [await client.ask() for client in (idle[0], idle[2])] == [200] * 2


async def test_where_all_are_at_work_one_more_is_refused_in_words(start: Start):
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(start(Setup(crowd=CrowdLimits(most=2))))
        for _ in range(2):
            busy = await stack.enter_async_context(connected(api))
            assert await busy.ask() == 200
            busy.writer.write(BEGUN)
        late = await stack.enter_async_context(connected(api))
        assert await late.ask() == 200  # whoever watches over the server gets in
        assert await late.ask(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n") == 503
        assert await late.closed()


async def test_one_address_has_its_own_limit_unless_it_is_a_proxy(start: Start):
    limits = CrowdLimits(most=100, most_per_client=1)
    exempt = CrowdLimits(most=100, most_per_client=1, is_exempt=lambda a: a == "127.0.0.1")
    for crowd, is_kept in ((limits, False), (exempt, True)):
        async with (
            start(Setup(crowd=crowd)) as api,
            connected(api) as first,
            connected(api) as second,
        ):
            assert await second.ask() == 200
            if is_kept:
                assert await first.ask() == 200
            else:
                assert await first.closed()
