"""Sends uploads byte by byte, and measures what they cost the server."""

import asyncio
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

BOUNDARY = "AaB03x"
MIB = 1 << 20
_SERVER = Path(__file__).with_name("audio_upload_server.py")


def part(name: str, content: bytes, *headers: str, filename: str | None = None) -> bytes:
    """One part of a form."""
    shown = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    lines = [f"Content-Disposition: {shown}", *headers]
    return (
        f"--{BOUNDARY}\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + content + b"\r\n"
    )


def form(*parts: bytes) -> bytes:
    """A whole form."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def head(*extra: str, content_type: str = f"multipart/form-data; boundary={BOUNDARY}") -> bytes:
    """The head of a POST request."""
    lines = ["POST / HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", *extra]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def chunked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """HTTP's chunked framing of `pieces`."""
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


async def exchange(port: int, request: Iterable[bytes]) -> tuple[int, dict]:
    """Send everything, then read the answer: status and JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in request:
            writer.write(piece)
            await writer.drain()
        status = int((await reader.readline()).split()[1])
        length = 0
        while (line := await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            length = int(value) if name.lower() == "content-length" else length
        return status, json.loads(await reader.readexactly(length))
    finally:
        writer.close()
        await writer.wait_closed()


async def post(port: int, body: bytes, **how: str) -> tuple[int, dict]:
    """Send `body` with its length."""
    return await exchange(port, [head(f"Content-Length: {len(body)}", **how), body])


def big_upload(file_mib: int) -> Iterator[bytes]:
    """A chunked request with a file of zeros, made as it is sent."""
    begin, end = form(part("file", b"@", filename="big.wav")).split(b"@")
    yield head("Transfer-Encoding: chunked")
    yield from chunked(itertools.chain([begin], itertools.repeat(bytes(MIB), file_mib), [end]))


@contextmanager
def server_process(root: Path, *, limit_bytes: int) -> Iterator[int]:
    """Run the upload server as a program; yield its port."""
    command = [sys.executable, str(_SERVER), str(root), str(limit_bytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.communicate(timeout=10)
