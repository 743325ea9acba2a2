"""Limits of keys are exact: under fifty clients at once, and after a restart."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.client import session
from support.live_client import connected, told
from support.rings import a_key, sent
from support.server import ServerProcess, running_server
from whisper_router.api.key_file import save_keys

CLIENTS = 50
CLIP, CLIP_S = "silence.wav", 5.0
"""No engine has to work for it, so that fifty clients are answered soon."""
CONFIG = """
default_model = "demo"
[auth]
keys_file = "{folder}/keys.toml"
"""
MINUTE, AUDIO = 12, 0.7
"""Requests per minute, and minutes of audio: 42 s are 8 of the clips."""


@contextmanager
def serving(folder: Path) -> Iterator[ServerProcess]:
    """A server with three keys, which keeps its state in the folder."""
    if not (folder / "keys.toml").exists():
        keys = [
            a_key("minute", requests_per_minute=MINUTE),
            a_key("audio", audio_minutes_per_day=AUDIO),
            a_key("live", audio_minutes_per_day=0.05),
            a_key("chief", admin=True),
        ]
        save_keys(folder / "keys.toml", keys)
    with running_server(folder, config=CONFIG.format(folder=folder)) as server:
        yield server


async def crowd(
    http: aiohttp.ClientSession, server: ServerProcess, name: str, path: Path
) -> Counter[int]:
    """Send one request from each of fifty clients at once; return how many had which status."""
    content = path.read_bytes()

    async def one() -> int:
        form = aiohttp.FormData({"model": "demo"})
        form.add_field("file", content, filename="a.wav")
        url = f"{server.url}/v1/audio/transcriptions"
        async with http.post(url, data=form, headers=sent(name)) as answer:
            body = await answer.json()
            if answer.status == 429:
                assert body["error"]["code"] == "rate_limit_exceeded"
                assert int(answer.headers["Retry-After"]) >= 1
            return answer.status

    return Counter(await asyncio.gather(*(one() for _ in range(CLIENTS))))


async def usage(http: aiohttp.ClientSession, server: ServerProcess) -> dict[str, Any]:
    """Return the figures of every key by its name."""
    async with http.get(f"{server.url}/v1/usage/keys", headers=sent("chief")) as answer:
        assert answer.status == 200
        return {entry["key"]: entry for entry in (await answer.json())["data"]}


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_fifty_clients_and_a_restart_get_no_more_than_the_limits(tmp_path, samples, ending):
    """Requests to the very one, audio to the second, however the server ended."""
    path = samples[CLIP]["path"]
    with serving(tmp_path) as server:
        async with session() as http:
            async with asyncio.TaskGroup() as group:
                minute = group.create_task(crowd(http, server, "minute", path))
                audio = group.create_task(crowd(http, server, "audio", path))
            assert minute.result() == {200: MINUTE, 429: CLIENTS - MINUTE}
            fitting = int(AUDIO * 60 / CLIP_S)
            assert audio.result() == {200: fitting, 429: CLIENTS - fitting}
            before = await usage(http, server)
        server.stop(ending)
    with serving(tmp_path) as server:
        async with session() as http:
            after = await usage(http, server)
            if ending is signal.SIGTERM:  # a kill may lose what was refused just before
                assert after["minute"]["total"] == before["minute"]["total"]
                assert after["audio"]["today"] == before["audio"]["today"]
                assert after["minute"]["total"]["requests"] == CLIENTS
            used_s = after["audio"]["today"]["audio_seconds"]
            assert AUDIO * 60 - CLIP_S <= used_s <= AUDIO * 60
            assert await crowd(http, server, "minute", path) == {429: CLIENTS}
            assert await crowd(http, server, "audio", path) == {429: CLIENTS}


async def test_a_live_session_is_ended_by_its_budget_also_over_a_kill(tmp_path):
    """Three seconds of it: two in a server that is killed, and what is left in the next one."""
    two_s = bytes(2 * 16_000 * 2)
    with serving(tmp_path) as server:
        async with session() as http, asyncio.timeout(60):
            query: dict[str, Any] = {"model": "demo", "headers": sent("live")}
            async with connected(http, server.url, **query) as client:
                await client.send_bytes(two_s)
                await client.send_bytes(b"")
                await told(client)
        server.stop(signal.SIGKILL)
    with serving(tmp_path) as server:
        async with session() as http, asyncio.timeout(60):
            assert abs((await usage(http, server))["live"]["today"]["audio_seconds"] - 2.0) <= 1.0
            async with connected(http, server.url, **query) as client:
                await client.send_bytes(two_s)
                await told(client)
                assert client.close_code == 1013
            used_s = (await usage(http, server))["live"]["today"]["audio_seconds"]
            assert 2.0 <= used_s <= 3.0
