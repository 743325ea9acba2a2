"""Bodies that are asked for late or never used, on raw sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.api_app import GOOD, HELD, Api, Setup, Start, sample_path
from whisper_router.api.crowd import CrowdLimits
from whisper_router.api.deps import DrainLimits
from whisper_router.api.key_source import FixedKeys

BOUNDARY = "frontier"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One connection to the API."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a status line and headers."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def answer(self) -> tuple[int, dict[str, object]]:
        """Read an answer with a JSON body."""
        status, headers = await self.head()
        return status, json.loads(await self.reader.readexactly(int(headers["content-length"])))


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Wire]:
    async with asyncio.timeout(15):
        reader, writer = await asyncio.open_connection(api.host, api.port)
        try:
            yield Wire(reader=reader, writer=writer)
        finally:
            writer.close()


def form(model: str, audio: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="'
    return (
        f'{head}model"\r\n\r\n{model}\r\n{head}file"; filename="a.wav"\r\n\r\n'.encode()
        + audio
        + f"\r\n--{BOUNDARY}--\r\n".encode()
    )


def request(length: int | None, **headers: str) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{framing}\r\n{extra}\r\n"
    ).encode()


async def spooled(api: Api) -> list[Path]:
    """Return the files of uploads that are still there."""
    return await asyncio.to_thread(lambda: list(api.spool.directory.iterdir()))


def hello() -> bytes:
    return form(GOOD, sample_path("en_hello_gb.wav").read_bytes())


@pytest.fixture
async def closed(start: Start) -> AsyncIterator[Api]:
    """An API that asks for a key."""
    async with start(Setup(keys=FixedKeys(["key"]))) as api:
        yield api


async def test_who_waits_for_the_go_ahead_gets_it(api: Api):
    """curl does so with every larger body."""
    body = hello()
    async with connected(api) as wire:
        await wire.send(request(len(body), Expect="100-continue"))
        assert await wire.reader.readexactly(len(CONTINUE)) == CONTINUE
        await wire.send(body)
        status, answer = await wire.answer()
    assert status == 200
    assert answer["text"] == "hello world"


async def test_who_waits_without_a_key_is_refused_before_the_upload(closed: Api):
    """Nothing was sent in vain, and the connection ends: there is no body to skip."""
    async with connected(closed) as wire:
        await wire.send(request(500 * MIB, Expect="100-continue"))
        status, headers = await wire.head()
    assert status == 401
    assert headers["connection"] == "close"


async def test_who_waits_with_too_much_is_refused_before_the_upload(api: Api):
    """The length was announced."""
    async with connected(api) as wire:
        await wire.send(request(500 * MIB, Expect="100-continue"))
        status, answer = await wire.answer()
    assert status == 413
    assert "server.max_upload_bytes" in str(answer)


@pytest.mark.parametrize("length", [2 * MIB, None], ids=["announced", "chunked"])
async def test_a_refused_upload_is_read_to_its_end(closed: Api, length: int | None):
    """A client that sends everything first still gets its 401, on a connection that goes on."""
    async with connected(closed) as wire:
        await wire.send(request(length))
        for _ in range(2):
            piece = bytes(MIB)
            await wire.send(piece if length else b"100000\r\n" + piece + b"\r\n")
        await wire.send(b"" if length else b"0\r\n\r\n")
        assert (await wire.answer())[0] == 401
        await wire.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await wire.answer())[0] == 200


async def test_the_refusal_comes_before_the_upload_has_ended(closed: Api):
    """A client that listens while it sends can stop at once."""
    async with connected(closed) as wire:
        await wire.send(request(2 * MIB))
        await wire.send(bytes(MIB))
        assert (await wire.answer())[0] == 401
        await wire.send(bytes(MIB))
        await wire.send(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await wire.answer())[0] == 200


async def test_too_large_an_upload_is_refused_and_read_on(start: Start):
    """Contract case 71: 413 and not a broken connection, also without Content-Length."""
    async with start(Setup(max_upload_bytes=MIB)) as api, connected(api) as wire:
        await wire.send(request(None))
        for piece in (form(GOOD, bytes(100))[:200], *[bytes(MIB)] * 3):
            await wire.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await wire.send(b"0\r\n\r\n")
        status, answer = await wire.answer()
    assert status == 413
    assert "1048576" in str(answer)


async def test_reading_on_has_an_end(start: Start):
    """Nobody keeps a connection busy with bytes that are thrown away."""
    setup = Setup(
        keys=FixedKeys(["key"]), drain=DrainLimits(limit_bytes=MIB, timeout_s=5), lingering_s=0.01
    )
    async with start(setup) as api, connected(api) as wire:
        await wire.send(request(1 << 40))
        assert (await wire.answer())[0] == 401
        with pytest.raises(ConnectionError):
            while True:
                await wire.send(bytes(MIB))


async def test_a_sender_that_falls_silent_is_not_waited_for(start: Start):
    """The time limit of the drain."""
    setup = Setup(
        keys=FixedKeys(["key"]),
        drain=DrainLimits(limit_bytes=MIB, brief_s=0.01),
        lingering_s=0.01,
    )
    async with start(setup) as api, connected(api) as wire:
        await wire.send(request(MIB) + b"half")
        assert (await wire.answer())[0] == 401
        assert await wire.reader.read() == b""


async def test_what_is_read_on_keeps_nobody_out(start: Start):
    """Refused bodies that trickle were places taken, for as long as they were read."""
    setup = Setup(keys=FixedKeys(["key"]), crowd=CrowdLimits(most=2))
    async with start(setup) as api, connected(api) as first, connected(api) as second:
        for wire in (first, second):
            await wire.send(request(MIB) + b"a")
            assert (await wire.answer())[0] == 401
            await wire.send(b"b")
        async with connected(api) as late:
            await late.send(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nx-api-key: key\r\n\r\n")
            assert (await late.answer())[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request(MIB), 401),
        (b"POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n", 404),
        (b"GET /health HTTP/1.1\r\nHost: h\r\nContent-Length: 999999\r\n\r\n", 200),
    ],
)
async def test_what_trickles_in_vain_is_soon_left(closed: Api, head: bytes, status: int):
    """Long before the time that an upload of somebody with a key has."""
    async with connected(closed) as wire:
        await wire.send(head + b"a")
        assert (await wire.head())[0] == status
        async with asyncio.timeout(15):  # of half a minute and more
            with suppress(ConnectionError):
                await wire.reader.read()


async def test_hanging_up_in_mid_upload_leaves_nothing_behind(api: Api):
    """No work was begun, and no file stays."""
    async with connected(api) as wire:
        await wire.send(request(4 * MIB) + form(GOOD, bytes(MIB))[:-100])
        while not await spooled(api):
            pass
    async with asyncio.timeout(15):
        while await spooled(api):
            pass
    assert not api.recogniser.requests


async def test_hanging_up_during_the_work_ends_it(api: Api):
    """The server notices although it is neither reading nor writing."""
    body = form(HELD, sample_path("en_hello_gb.wav").read_bytes())
    async with connected(api) as wire:
        await wire.send(request(len(body)) + body)
        await api.recogniser.reached.wait()
    async with asyncio.timeout(15):
        await api.recogniser.closed.wait()


async def test_a_body_cut_short_is_a_clean_refusal(api: Api):
    """The boundary never comes."""
    body = hello()[:-10]
    async with connected(api) as wire:
        await wire.send(request(len(body)) + body)
        status, answer = await wire.answer()
    assert status == 400
    assert "closing boundary" in str(answer)


async def test_http_1_0_works(api: Api):
    """Old proxies speak it; it knows no Expect and no chunks."""
    body = hello()
    async with connected(api) as wire:
        await wire.send(request(len(body), Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0"))
        await wire.send(body)
        status, answer = await wire.answer()
    assert (status, answer["text"]) == (200, "hello world")
