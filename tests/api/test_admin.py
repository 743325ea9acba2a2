"""The administrators' routes on a real server with the demo model."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from support.client import ask, session
from support.engine_processes import engine_processes, frozen, the_worker
from support.processes import begun, gone
from support.server import ServerProcess, running_server
from support.speech import sample
from whisper_router.api.keys import hash_key

CONFIG = """
default_model = "demo"
[server]
cors_origins = ["https://page.example"]
[store]
endpoint = "https://user:hidden@hub.example/path?token=hidden"
wait_s = inf
[auth]
api_key = "a-secret-key-for-tests"
[models."team/clips"]
model = "demo"
idle_unload_s = 0.3
[models.broken]
engine = "whispercpp"
path = "/no/such/model.bin"
[models.garbage]
path = "{garbage}"
"""
LIMIT_S = 60
ADMIN = {"Authorization": "Bearer a-secret-key-for-tests"}


@contextlib.contextmanager
def administered(folder: Path) -> Iterator[ServerProcess]:
    """Run a server with one model that is none."""
    garbage = folder / "garbage.bin"
    garbage.write_bytes(b"this is no model\n" * 100)
    with running_server(folder, config=CONFIG.format(garbage=garbage)) as running:
        yield running


@contextlib.asynccontextmanager
async def administrator(server: ServerProcess) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with the key."""
    async with (
        asyncio.timeout(LIMIT_S),
        aiohttp.ClientSession(server.url, headers=ADMIN) as client,
    ):
        yield client


@pytest.fixture
def server(tmp_path):
    """A server whose engines nobody else uses."""
    with administered(tmp_path) as running:
        yield running


@pytest.fixture
async def http(server):
    """A client that is an administrator of it."""
    async with administrator(server) as client:
        yield client


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A server on which no engine is started but the one that cannot."""
    with administered(tmp_path_factory.mktemp("shared")) as running:
        yield running


@pytest.fixture
async def guest(shared):
    """A client that is an administrator of that one."""
    async with administrator(shared) as client:
        yield client


async def call(http: aiohttp.ClientSession, method: str, path: str, **query: str):
    async with http.request(method, f"/v1/{path}", params=query) as response:
        return response.status, await response.json()


async def test_aliases_that_are_configured_or_used_are_listed(http):
    """The default one first; a preset of the catalogue that nobody asked for is left out."""
    _, body = await call(http, "GET", "processes")
    assert [pool["id"] for pool in body["data"]] == ["demo", "broken", "garbage", "team/clips"]
    assert {pool["state"] for pool in body["data"]} == {"stopped"}


async def test_an_engine_is_loaded_looked_at_and_unloaded(http, server):
    """Load answers when it serves, unload when its processes are gone."""
    status, loaded = await call(http, "POST", "processes/demo/load")
    assert (status, loaded["state"], loaded["breaker"]) == (200, "ready", "closed")
    (process,) = loaded["processes"]
    assert psutil.pid_exists(process["pid"])
    assert process["rss_bytes"] > 10 << 20
    assert (await call(http, "GET", "models/demo"))[1]["memory_bytes"] > 10 << 20
    assert loaded["acceleration"]["in_effect"] == "cpu"
    assert loaded["model_file"].endswith(".bin")
    status, unloaded = await call(http, "POST", "processes/demo/unload")
    assert (status, unloaded["state"], unloaded["rss_bytes"]) == (200, "stopped", 0)
    assert not engine_processes(server)


async def test_a_model_that_cannot_be_loaded_says_why(guest):
    """The answer of `load` is the error that a request would get."""
    status, body = await call(guest, "POST", "processes/broken/load")
    assert (status, body["error"]["code"]) == (503, "model_unavailable")
    assert "/no/such/model.bin" in body["error"]["message"]


async def test_unload_waits_for_what_runs_unless_it_is_forced(http, server):
    """Forced, the chunk is interrupted and runs again on a fresh process."""
    clip = sample("en_hello_gb").path
    await call(http, "POST", "processes/demo/load")
    async with session() as plain:
        plain.headers.update(ADMIN)
        with frozen(the_worker(server)) as _:
            (leader, *_others) = engine_processes(server)
            running = begun(ask(plain, server.url, clip))
            while (await call(http, "GET", "processes/demo"))[1]["leases"] == 0:
                pass
            waiting = begun(call(http, "POST", "processes/demo/unload"))
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            assert not done
            status, _ = await call(http, "POST", "processes/demo/unload", force="true")
            assert status == 200
            await gone(leader.pid)
        status, answer = await running
        assert (status, answer["text"]) == (200, "hello world")
        assert (await waiting)[0] == 200


async def test_a_pinned_alias_is_not_unloaded_while_idle(http, server):
    """Its name has a slash; unpinned it goes after its time."""
    status, body = await call(http, "POST", "processes/team/clips/pin")
    assert (status, body["pinned"], body["state"]) == (200, True, "stopped")
    await call(http, "POST", "processes/team/clips/load")
    _, body = await call(http, "POST", "processes/team/clips/unpin")
    assert (body["pinned"], body["state"]) == (False, "ready")
    await asyncio.to_thread(server.wait_for_log, "engine_idle")


async def test_a_request_may_say_how_long_its_engine_stays(http, server):
    """0: it goes at once; the next request starts it again."""
    clip = sample("en_hello_gb").path
    async with session() as plain:
        plain.headers.update(ADMIN)
        assert (await ask(plain, server.url, clip, keep_alive="0"))[0] == 200
        await asyncio.to_thread(server.wait_for_log, "engine_idle")
        assert (await ask(plain, server.url, clip, keep_alive="10m"))[0] == 200
    assert (await call(http, "GET", "processes/demo"))[1]["state"] == "ready"


async def test_logs_are_a_tail_and_a_stream(guest):
    """Each line is an event; what comes later comes by itself."""
    _, body = await call(guest, "GET", "processes/garbage/logs")
    assert body == {"object": "list", "data": []}
    headers = {"Accept": "text/event-stream"}
    async with guest.get("/v1/processes/garbage/logs", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        status, _ = await call(guest, "POST", "processes/garbage/load")
        assert status == 503
        line = json.loads((await response.content.readline()).removeprefix(b"data: "))["line"]
    assert line.startswith("error: ")
    assert "garbage.bin" in line
    assert (await call(guest, "GET", "processes/garbage/logs", lines="1"))[1]["data"] == [line]
    assert (await call(guest, "GET", "processes/garbage/logs", lines="0"))[1]["data"] == []


async def test_an_alias_that_never_starts_is_left_alone_and_says_so(http):
    """In its entry and in that of `/v1/models`; the refusal has a time to come back."""
    answers = [await call(http, "POST", "processes/garbage/load") for _ in range(4)]
    assert [status for status, _ in answers] == [503] * 4
    assert "3 times in a row" in answers[-1][1]["error"]["message"]
    async with http.post("/v1/processes/garbage/load") as response:
        assert int(response.headers["Retry-After"]) >= 1
    _, pool = await call(http, "GET", "processes/garbage")
    assert (pool["breaker"], pool["starts"]) == ("open", 3)
    _, model = await call(http, "GET", "models/garbage")
    assert model["breaker"] == "open"
    async with http.get("/health") as response:
        assert (response.status, (await response.json())["failing"]) == (200, ["garbage"])


@pytest.mark.parametrize(
    ("method", "path", "query", "param"),
    [
        ("GET", "processes/demo/logs", {"lines": "-1"}, "lines"),
        ("GET", "processes/demo/logs", {"lines": "9" * 5000}, "lines"),
        ("POST", "processes/demo/unload", {"force": "perhaps"}, "force"),
    ],
)
async def test_what_makes_no_sense_is_refused(guest, method, path, query, param):
    """With the name of the parameter."""
    status, body = await call(guest, method, path, **query)
    assert (status, body["error"]["param"]) == (400, param)


async def test_an_alias_that_does_not_exist_is_not_found(guest):
    """As everywhere."""
    status, body = await call(guest, "GET", "processes/nobody")
    assert (status, body["error"]["code"]) == (404, "model_not_found")


async def test_the_configuration_is_shown_without_its_secrets(guest):
    """All settings, also those that were not set."""
    status, body = await call(guest, "GET", "config")
    assert status == 200
    assert body["default_model"] == "demo"
    assert body["models"]["team/clips"]["idle_unload_s"] == 0.3
    assert body["auth"]["api_key"] == "**********"
    assert body["store"]["endpoint"] == "https://hub.example/path?**********"
    assert body["store"]["wait_s"] == "inf"
    assert "a-secret-key" not in json.dumps(body)
    assert "hidden" not in json.dumps(body)


async def test_pages_of_other_sites_may_change_nothing(guest, shared):
    """Where no key is needed a browser lets them try; looking is what CORS is for."""
    for origin, wanted in (
        ("http://evil.example", 403),
        ("null", 403),
        (shared.url, 200),
        ("https://page.example", 200),
    ):
        headers = {"Origin": origin}
        async with guest.post("/v1/processes/demo/unpin", headers=headers) as response:
            assert response.status == wanted, origin
        async with guest.get("/v1/processes/demo", headers=headers) as response:
            assert response.status == 200


async def test_an_open_stream_of_logs_does_not_hold_up_the_end_of_the_server(http, server):
    """It has no end of its own."""
    headers = {"Accept": "text/event-stream"}
    async with http.get("/v1/processes/demo/logs", headers=headers) as response:
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await response.content.read()
    assert await asyncio.to_thread(server.process.wait, 10) == 0


async def test_ordinary_keys_may_do_none_of_it(tmp_path):
    """403, and nothing is loaded or unloaded."""
    keys = tmp_path / "keys.toml"
    keys.touch(mode=0o600)
    keys.write_text(f'[keys.ann]\nhash = "{hash_key("ann")}"\n')
    config = f'default_model = "demo"\n[auth]\nkeys_file = "{keys}"\n'
    with running_server(tmp_path, config=config) as server:
        headers = {"Authorization": "Bearer ann"}
        async with (
            asyncio.timeout(LIMIT_S),
            aiohttp.ClientSession(server.url, headers=headers) as http,
        ):
            for method, path in (
                ("GET", "processes"),
                ("GET", "processes/demo"),
                ("GET", "processes/demo/logs"),
                ("POST", "processes/demo/load"),
                ("POST", "processes/demo/unload"),
                ("POST", "processes/demo/pin"),
                ("POST", "processes/demo/unpin"),
                ("GET", "config"),
            ):
                status, body = await call(http, method, path)
                assert (status, body["error"]["code"]) == (403, "insufficient_scope"), path
        assert not engine_processes(server)
