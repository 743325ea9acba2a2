"""Requests that never reach the application."""

import asyncio
import json

import pytest

from support.api_app import Api, Setup, Start
from support.own_time import pass_s
from whisper_router.api.connection import ConnectionLimits

SECRET = "sk-do-not-print-me"
CRLF = "\r\n"
MANY = "".join(f"X-{number}: {'y' * 600}{CRLF}" for number in range(60))
ENDLESS = "".join(f"\r\nX-{number}: {'y' * 4000}" for number in range(15))
LONG = f"GET /v1/models HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {SECRET}{'x' * 40_000}\r\n\r\n"


async def sent(api: Api, data: str) -> tuple[str, dict[str, str], bytes]:
    """Send bytes; return status line, headers and body of all that comes back."""
    reader, writer = await asyncio.open_connection(api.host, api.port)
    async with asyncio.timeout(15):
        writer.write(data.encode("latin-1"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}, body


@pytest.mark.parametrize(
    ("request_text", "answered"),
    [
        (f"{SECRET}\r\n\r\n", 400),
        (f"GET / HTTP/9.9 {SECRET}\r\n\r\n", 400),
        (f"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\n\r\n", 400),
        (f"GET /v1/models HTTP/1.1\r\nHost: h\r\nContent-Length: {SECRET}\r\n\r\n", 400),
        (LONG, 431),
        (f"GET /v1/models HTTP/1.1\r\nHost: h\r\n{f'A: {SECRET}' * 2000}\r\n\r\n", 431),
        (f"GET /v1/models HTTP/1.1\r\nHost: h\r\n{f'A: {SECRET}{CRLF}' * 101}\r\n", 431),
        (f"GET /v1/models HTTP/1.1\r\nHost: h\r\n{MANY}\r\n", 431),
        (f"GET /{SECRET}{'x' * 9000} HTTP/1.1\r\nHost: h\r\n\r\n", 414),
        (f"GET /v1/models HTTP/1.1\r\nHost: h\r\nA: {SECRET}" + ENDLESS, 431),
        (
            "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            f"5\r\n--b\r\n\r\n{SECRET}\r\n\r\n",
            400,
        ),
    ],
    ids=[
        *("no request", "version", "no host", "length", "long header", "longer header"),
        *("many headers", "large headers", "long address", "no end of headers", "chunk"),
    ],
)
async def test_what_is_not_http_gets_the_usual_body_and_is_not_quoted_in_the_log(
    api: Api, logs, capfd, request_text: str, answered: int
):
    """A port scanner writes one line into the log; a key in a broken request is not in it."""
    status, headers, body = await sent(api, request_text)
    assert f" {answered} " in status
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("req_")
    assert headers["server"] == "whisper-router"
    assert list(json.loads(body)["error"]) == ["message", "type", "param", "code"]
    assert SECRET not in body.decode()
    assert SECRET not in str(logs)
    told = "request_done" if request_text.endswith(MANY + CRLF) else "request_malformed"
    assert [line["event"] for line in logs].count(told) == 1
    assert capfd.readouterr().err == ""


async def test_a_broken_compressed_body_leaves_no_traceback_on_stderr(api: Api, logs, capfd):
    """aiohttp meets it again when it clears the connection."""
    status, _, body = await sent(
        api,
        "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Encoding: gzip\r\n"
        f"Content-Length: {len(SECRET)}\r\n\r\n{SECRET}",
    )
    assert " 400 " in status
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert SECRET not in str(logs)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("said", ["", "GET /v1/mod", "GET /v1/models HTTP/1.1\r\nHost: h\r\n"])
async def test_a_new_connection_that_says_nothing_is_closed(start: Start, said: str):
    """Connections cost descriptors, which even a caller without a key could use up."""
    async with start(Setup(connections=ConnectionLimits(header_timeout_s=0.1))) as api:
        reader, writer = await asyncio.open_connection(api.host, api.port)
        async with asyncio.timeout(15):
            writer.write(said.encode())
            assert await reader.read() == b""
        writer.close()


@pytest.mark.own_time
async def test_a_connection_with_a_request_on_its_way_is_not_silent(start: Start):
    """The limit is for the headers; an upload may take as long as it makes progress."""
    async with start(Setup(connections=ConnectionLimits(header_timeout_s=5))) as api:
        reader, writer = await asyncio.open_connection(api.host, api.port)
        async with asyncio.timeout(15):
            writer.write(
                b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\nConnection: close\r\n"
                b"Expect: 100-continue\r\n\r\n"
            )
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            pass_s(6)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await reader.read()
            writer.write(b"x" * 100)
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
