"""A client of the live WebSocket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import aiohttp

from support.speech import floats, sample

FRAME_BYTES = 3200
"""A tenth of a second."""


def pcm(name: str) -> bytes:
    """Return a bundled sample as 16 kHz mono s16le."""
    return (floats(sample(name).path) * 32767).astype("<i2").tobytes()


@contextlib.asynccontextmanager
async def connected(
    http: aiohttp.ClientSession,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    no_data_s: str | None = "0",
    **query: str,
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a session for a server's base URL.

    It does not end because this process is not scheduled for a second, unless `no_data_s` says so;
    None is what the server is set to.
    """
    if no_data_s is not None:
        query["no_data_s"] = no_data_s
    address = f"{url}/v1/audio/transcriptions?{urlencode(query)}"
    async with http.ws_connect(address, headers=headers, max_msg_size=0) as socket:
        yield socket


async def send(socket: aiohttp.ClientWebSocketResponse, data: bytes, size: int = FRAME_BYTES):
    """Send audio in frames, as fast as it is taken, and an empty one at the end."""
    for begin in range(0, len(data), size):
        await socket.send_bytes(data[begin : begin + size])
    await socket.send_bytes(b"")


async def told(socket: aiohttp.ClientWebSocketResponse) -> list[str]:
    """Return every message until the server closes."""
    return [message.data async for message in socket]


async def last(socket: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    """Return the last message until the server closes, as JSON."""
    messages = await told(socket)
    return json.loads(messages[-1])


async def raw_upgrade(host: str, port: int, path: str) -> tuple[asyncio.StreamReader, Any]:
    """Upgrade a connection by hand, for frames that no client library would send."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: router\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head.split(b"\r\n")[0]
    return reader, writer
