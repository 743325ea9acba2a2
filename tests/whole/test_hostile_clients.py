"""Hostile clients at a real server, in small. With numbers: tests/bench/hostile_clients.py."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from support.client import ask, session
from support.server import running_server

HOSTILE = Path(__file__).parents[1] / "support" / "hostile.py"
KEY = "wr-the-good-key-of-this-test"
LIMIT_S = 60
CONFIG = """
default_model = "demo"
[server]
max_connections = 40
header_timeout_s = 1
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
