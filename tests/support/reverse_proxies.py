"""Runs the shipped nginx and Caddy recipes on Unix sockets, in front of a loopback port."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

SYSTEMD = Path(__file__).parents[2] / "systemd"
NGINX_RECIPE = SYSTEMD / "nginx" / "whisper-router.conf"
CADDY_RECIPE = SYSTEMD / "caddy" / "Caddyfile"

# Debian puts nginx where only root's PATH looks.
PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"

NGINX_MAIN = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {recipe};
}}
"""


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """Return `text` with each key, which must occur exactly once, replaced by its value."""
    for old, new in changes.items():
        if text.count(old) != 1:
            raise AssertionError(f"{old!r} occurs {text.count(old)} times in the recipe")
        text = text.replace(old, new)
    return text


def write_nginx_config(folder: Path, *, port: int, changes: Mapping[str, str]) -> Path:
    """Write a whole nginx configuration around the recipe, which then listens where `changes` say.

    Port 80 becomes the Unix socket `redirect.sock`.
    """
    recipe = folder / "recipe.conf"
    common = {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{port};",
        "listen 80;": f"listen unix:{folder}/redirect.sock;",
        "listen [::]:80;": "",
        "listen [::]:443 ssl http2;": "",
    }
    recipe.write_text(replaced(NGINX_RECIPE.read_text(), {**common, **changes}))
    main = folder / "nginx.conf"
    main.write_text(NGINX_MAIN.format(folder=folder, recipe=recipe))
    return main


@asynccontextmanager
async def nginx(folder: Path, port: int) -> AsyncIterator[Path]:
    """Run nginx without TLS; yields its Unix socket."""
    socket = folder / "nginx.sock"
    changes = {
        "listen 443 ssl http2;": f"listen unix:{socket};",
        "ssl_certificate     /etc/ssl/certs/whisper.example.org.pem;": "",
        "ssl_certificate_key /etc/ssl/private/whisper.example.org.key;": "",
    }
    config = write_nginx_config(folder, port=port, changes=changes)
    argv = ("nginx", "-e", "stderr", "-p", str(folder), "-c", str(config))
    # Logged after the sockets are open.
    async with _running(argv, folder=folder, ready=b"event method"):
        yield socket


@asynccontextmanager
async def caddy(folder: Path, port: int) -> AsyncIterator[Path]:
    """Run Caddy without TLS; yields its Unix socket."""
    socket = folder / "caddy.sock"
    changes = {
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "whisper.example.org {": f"http://whisper.example.org {{\n\tbind unix/{socket}",
    }
    config = folder / "Caddyfile"
    config.write_text("{\n\tadmin off\n}\n" + replaced(CADDY_RECIPE.read_text(), changes))
    argv = ("caddy", "run", "--config", str(config), "--adapter", "caddyfile")
    async with _running(argv, folder=folder, ready=b"serving initial configuration"):
        yield socket


def environment(folder: Path) -> dict[str, str]:
    """Return an environment whose home is `folder`."""
    return {"PATH": PATH, "HOME": str(folder)}


@asynccontextmanager
async def _running(argv: tuple[str, ...], *, folder: Path, ready: bytes) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *argv, stderr=asyncio.subprocess.PIPE, env=environment(folder)
    )
    try:
        async with asyncio.timeout(60):
            await _until(process, ready)
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(60):
            await process.communicate()


async def _until(process: asyncio.subprocess.Process, ready: bytes) -> None:
    said = []
    assert process.stderr is not None
    async for line in process.stderr:
        said.append(line)
        if ready in line:
            return
    raise AssertionError(b"".join(said).decode())
