"""HTTPS and WSS on a real socket."""

import asyncio
import contextlib
import io
import socket
import ssl

import aiohttp
import pytest

from support.api_app import Setup, Start
from support.certificates import make_certificate
from whisper_router.api.certificates import Certificates
from whisper_router.api.connection import ConnectionLimits
from whisper_router.api.crowd import CrowdLimits

LIMIT_S = 15
pytestmark = pytest.mark.both_loops


@pytest.fixture
def files(tmp_path):
    return make_certificate(tmp_path)


@pytest.fixture
def setup(files):
    return Setup(
        certificates=Certificates(files.certificate, files.key),
        crowd=CrowdLimits(most=4),
    )


def trusting(files) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files.certificate))


async def test_requests_and_websockets_come_through_tls(start: Start, setup, files):
    async with (
        asyncio.timeout(LIMIT_S),
        start(setup) as api,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting(files))) as http,
    ):
        async with http.get(f"{api.root}/x") as answer:
            text = (await answer.json())["error"]["message"]
            assert f"https://127.0.0.1:{api.port}/v1 " in text
        async with http.post(
            f"{api.root}/v1/audio/transcriptions", data=io.BytesIO(bytes(5 << 20))
        ) as answer:
            assert answer.status == 400
        url = f"{api.root.replace('https', 'wss')}/v1/realtime?model=none"
        async with http.ws_connect(url) as live:
            assert (await live.receive_json())["type"] == "error"


async def test_old_versions_are_refused_and_the_protocol_is_agreed(start: Start, setup, files):
    async with start(setup) as api:
        context = trusting(files)
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(api.host, api.port, ssl=context)
        secured = writer.get_extra_info("ssl_object")
        assert (secured.version(), secured.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        writer.close()
        await writer.wait_closed()
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(api.host, api.port, ssl=context)


async def test_a_renewed_certificate_is_for_new_connections(start: Start, setup, files, tmp_path):
    """The old ones go on; so a renewal costs nobody anything."""
    async with asyncio.timeout(LIMIT_S), start(setup) as api:
        reader, writer = await asyncio.open_connection(api.host, api.port, ssl=trusting(files))
        other = make_certificate(tmp_path, "two")
        other.certificate.replace(files.certificate)
        other.key.replace(files.key)
        await asyncio.to_thread(setup.certificates.look)
        _, second = await asyncio.open_connection(api.host, api.port, ssl=trusting(files))
        assert (("commonName", "two"),) in second.get_extra_info("peercert")["subject"]
        writer.write(b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        for one in (writer, second):
            one.close()
            await one.wait_closed()


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"])
async def test_who_does_not_finish_the_handshake_is_closed(start: Start, setup, said):
    setup.connections = ConnectionLimits(header_timeout_s=0.2)
    async with asyncio.timeout(LIMIT_S), start(setup) as api:
        reader, writer = await asyncio.open_connection(api.host, api.port)
        writer.write(said)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        assert reader.at_eof() or reader.exception() is not None
        writer.close()


async def test_who_shakes_hands_for_long_gives_way_to_others(start: Start, setup, files):
    """They take room like everybody else."""
    setup.connections = ConnectionLimits(header_timeout_s=60)
    async with asyncio.timeout(LIMIT_S), start(setup) as api:
        silent = [socket.create_connection((api.host, api.port)) for _ in range(4)]
        reader, writer = await asyncio.open_connection(api.host, api.port, ssl=trusting(files))
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        for one in silent:
            one.close()
