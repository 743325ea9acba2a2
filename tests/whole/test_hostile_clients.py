"""Hostile clients at a real server, in small. With numbers: tests/bench/hostile_clients.py."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import psutil
import pytest

from support.client import ask, session
from support.server import running_server

HOSTILE = Path(__file__).parents[1] / "support" / "hostile.py"
KEY = "wr-the-good-key-of-this-test"
LIMIT_S = 60
READERS = 60
CONFIG = """
default_model = "demo"
[server]
max_connections = 40
header_timeout_s = 5
write_timeout_s = 1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    with running_server(folder, config=CONFIG, env={"API_KEY": KEY}) as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "count", "seen"),
    [
        ("slowloris", 60, "thrown_out"),
        ("idle", 60, "thrown_out"),
        ("flood", 8, "HTTP/1.0 431"),
        ("wrong_keys", 200, "HTTP/1.1 401"),
        ("slow_reader", 20, "connected"),
    ],
)
async def test_others_are_served_under_attack(server, samples, kind: str, count: int, seen: str):
    """More attackers than there may be connections; who has a good key gets in each time."""
    path, headers = samples["en_hello_gb.wav"]["path"], {"Authorization": f"Bearer {KEY}"}
    host, port = server.url.removeprefix("http://").split(":")
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, str(HOSTILE), kind, host, port, str(count), KEY),
        stdin=pipe,
        stdout=pipe,
    )
    assert child.stdin
    assert child.stdout
    try:
        async with asyncio.timeout(LIMIT_S):
            assert await child.stdout.readline() == b"under way\n"
            for _ in range(3):
                async with session() as http:
                    http.headers.update(headers)
                    status, body = await ask(http, server.url, path)
                    assert (status, body["text"]) == (200, "hello world")
            child.stdin.close()
            tally = json.loads(await child.stdout.readline())
            await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
    assert tally[seen] >= (count if kind == "wrong_keys" else 1)


def stubborn(host: str, port: int) -> socket.socket:
    """A client that asks for much and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, port))
    asked = f"GET /openapi.json HTTP/1.1\r\nHost: h\r\nX-Api-Key: {KEY}\r\n\r\n".encode()
    client.sendall(asked * 30)  # more than the system takes from the server
    return client


async def cut_off(url: str) -> int:
    """Return how many were cut off because they did not read."""
    async with session() as http, http.get(f"{url}/metrics", headers={"X-Api-Key": KEY}) as answer:
        lines = (await answer.text()).splitlines()
    name = 'whisper_router_connections_cut_total{reason="does_not_read"}'
    return int(float(next((line for line in lines if line.startswith(name)), "0").split()[-1]))


@pytest.mark.alone
async def test_what_slow_readers_held_comes_back(tmp_path):
    """What answers took that nobody read is there for the next ones."""
    config = CONFIG.replace("max_connections = 40", "max_connections = 100")
    after: list[int] = []
    with running_server(tmp_path, config=config, env={"API_KEY": KEY}) as server:
        host, port = server.url.removeprefix("http://").split(":")
        for _ in range(3):
            before = await cut_off(server.url)
            async with asyncio.timeout(LIMIT_S):
                clients = [stubborn(host, int(port)) for _ in range(READERS)]
                while await cut_off(server.url) - before < READERS:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            for client in clients:
                client.close()
            after.append(psutil.Process(server.pid).memory_info().rss >> 20)
    assert after[-1] - after[0] < 12, after
