"""The nginx and Caddy recipes, run by nginx and Caddy."""

import asyncio
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.proxied_app import TOO_LARGE, proxied_app
from support.reverse_proxies import (
    CADDY_RECIPE,
    NGINX_RECIPE,
    caddy,
    environment,
    nginx,
    write_nginx_config,
)
from whisper_router.settings import Settings

LIMIT_BYTES = int(Settings.model_construct().server.max_upload_bytes)
PIECE = bytes(64 * 1024)


@pytest.fixture
def folder():
    """A directory with a short name: the path of a Unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as name:
        yield Path(name)


@pytest.fixture
async def app():
    """The server behind the proxy."""
    async with proxied_app() as running:
        yield running


@pytest.fixture(params=[nginx, caddy], ids=lambda proxy: proxy.__name__)
async def client(request, folder, app):
    """An HTTP client that sees the app only through the proxy."""
    async with (
        request.param(folder, app.port) as socket,
        aiohttp.ClientSession(
            "http://whisper.example.org",
            connector=aiohttp.UnixConnector(str(socket)),
            timeout=aiohttp.ClientTimeout(total=60),
        ) as session,
    ):
        yield session


@pytest.mark.parametrize("path", ["/events", "/events?with-length"])
async def test_an_event_arrives_before_the_next_one_is_sent(app, client, path):
    """Answers are not buffered; nginx would keep those of known length back by default."""
    async with asyncio.timeout(60), client.get(path) as response:
        first = await response.content.readuntil(b"\n\n")
        app.release_second_event.set()
        rest = await response.content.read()

    assert (first, rest) == (b"data: 1\n\n", b"data: 2\n\n")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Length": str(2 * len(PIECE))}],
    ids=["chunked", "content-length"],
)
async def test_an_upload_reaches_the_router_while_it_is_being_sent(app, client, headers):
    """Uploads are not kept on the proxy's disk first."""

    async def body() -> AsyncIterator[bytes]:
        yield PIECE
        await app.upload_began.wait()
        yield PIECE

    async with (
        asyncio.timeout(60),
        client.post("/upload", data=body(), headers=headers) as response,
    ):
        assert await response.json() == {"received": 2 * len(PIECE)}


async def test_an_upload_over_the_limit_is_refused_by_the_router_itself(client):
    """The proxy's limit is above the router's, whose error the API clients understand."""
    too_large = LIMIT_BYTES + (1 << 20)

    async def body() -> AsyncIterator[bytes]:
        for _ in range(256):
            yield PIECE
        await asyncio.Event().wait()

    async with (
        asyncio.timeout(60),
        client.post("/refuse", data=body(), headers={"Content-Length": str(too_large)}) as response,
    ):
        assert (response.status, await response.text()) == (413, TOO_LARGE)


async def test_a_websocket_passes(client):
    """The upgrade reaches the router."""
    async with asyncio.timeout(60), client.ws_connect("/websocket") as socket:
        await socket.send_str("hello")

        assert await socket.receive_str() == "hello"


async def test_the_router_sees_the_key_the_name_and_the_request_id(client):
    """What identifies a request is passed on."""
    sent = {"Authorization": "Bearer k", "X-Request-ID": "r-1"}
    async with client.get("/headers", headers=sent) as response:
        seen = await response.json()

    assert seen["Host"] == "whisper.example.org"
    assert {name: seen[name] for name in sent} == sent


async def test_nginx_tells_who_asked_and_how(folder, app):
    """Caddy does so without being told, though not on the Unix socket of these tests."""
    async with (
        nginx(folder, app.port) as socket,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.get("http://whisper.example.org/headers") as response,
    ):
        seen = await response.json()

    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["X-Forwarded-For"] == seen["X-Real-IP"]


@pytest.mark.parametrize(
    ("recipe", "limit", "unit_bytes"),
    [
        (NGINX_RECIPE, r"client_max_body_size (\d+)m;", 1 << 20),
        (CADDY_RECIPE, r"max_size (\d+)MB", 10**6),
    ],
    ids=["nginx", "caddy"],
)
def test_the_proxy_limit_is_a_little_above_the_router_limit(recipe, limit, unit_bytes):
    """Far larger uploads need not reach the router at all."""
    [count] = re.findall(limit, recipe.read_text())
    proxy_bytes = int(count) * unit_bytes

    assert LIMIT_BYTES + (1 << 20) < proxy_bytes < 1.1 * LIMIT_BYTES


def test_nginx_accepts_the_recipe_with_its_certificate(folder):
    """`nginx -t` of the whole file, TLS and HTTP/2 included."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make_certificate(key, certificate)
    changes = {
        "listen 443 ssl http2;": f"listen unix:{folder}/https.sock ssl http2;",
        "/etc/ssl/certs/whisper.example.org.pem": str(certificate),
        "/etc/ssl/private/whisper.example.org.key": str(key),
    }
    config = write_nginx_config(folder, port=8000, changes=changes)

    verdict = run(folder, "nginx", "-t", "-e", "stderr", "-p", folder, "-c", config)

    assert "test is successful" in verdict.stderr
    assert "[warn]" not in verdict.stderr


def test_caddy_accepts_the_recipe_as_it_is(folder):
    """`caddy adapt` warns of what is badly formatted, `--validate` loads every module."""
    verdict = run(
        folder, "caddy", "adapt", "--validate", "--config", CADDY_RECIPE, "--adapter", "caddyfile"
    )

    assert verdict.returncode == 0, verdict.stderr
    assert '"level":"warn"' not in verdict.stderr


def make_certificate(key: Path, certificate: Path) -> None:
    """Write a self-signed certificate."""
    subject = ("-subj", "/CN=whisper.example.org", "-days", "1")
    kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    made = run(key.parent, "openssl", "req", *kind, *subject, "-keyout", key, "-out", certificate)
    assert made.returncode == 0, made.stderr


def run(folder: Path, *argv: object) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [str(part) for part in argv],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(folder),
    )
