"""A model's file is fetched over HTTP, from a real hub of this machine."""

import asyncio
import json

import pytest

from support.api_app import Setup
from support.client import session
from support.hub import Fault, Hub, isolate
from support.in_process import settings_in
from support.processes import begun
from whisper_router.api.key_source import KeyFile
from whisper_router.api.keys import hash_key
from whisper_router.serve import running_server

CONTENT = b"weights " * 200_000
REPO, FILE = "somebody/models", "ggml-remote.bin"
NAME = f"{REPO}/{FILE}"
LIMIT_S = 60
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def blocking_calls_fail():
    """Nothing here: the whole server runs in this process, with all its beginnings."""


@pytest.fixture
async def hub(monkeypatch, tmp_path):
    """A hub that has a file."""
    isolate(monkeypatch, tmp_path)
    async with Hub().running() as running:
        running.add(NAME, CONTENT)
        yield running


@pytest.fixture
async def server(tmp_path, hub):
    """A server with a model of that hub, a file that is missing, and a model elsewhere."""
    models = {
        "remote": {"repo": REPO, "file": FILE},
        "mine": {"engine": "whispercpp", "path": str(tmp_path / "missing.bin")},
        "far": {"engine": "upstream", "base_urls": ["http://127.0.0.1:9/v1"]},
    }
    store = {
        "endpoint": hub.url,
        "auto_download": False,
        "min_free_bytes": 0,
        "offline": False,
    }
    settings = settings_in(tmp_path, default_model="demo", models=models, store=store)
    async with asyncio.timeout(LIMIT_S), running_server(settings) as running:
        yield running


@pytest.fixture
async def http():
    async with session() as http:
        yield http


def url_of(server, alias):
    return f"{server.url}/v1/processes/{alias}/pull"


async def events(response):
    """Return the events until the stream ends."""
    text = await response.text()
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


async def state(http, server, alias="remote"):
    async with http.get(f"{server.url}/v1/processes") as response:
        listed = (await response.json())["data"]
    return next(item for item in listed if item["id"] == alias)


async def test_progress_is_told_until_the_file_is_here(server, hub, http):
    """Also where requests may not fetch it; the list tells it, too."""
    go_on = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=100_000, hold=go_on))
    found = await state(http, server)
    assert (found["model_present"], found["download"]) == (False, None)
    async with http.post(url_of(server, "remote"), headers=EVENTS) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        while True:
            line = await response.content.readline()
            assert line
            if line.startswith(b"data: ") and json.loads(line[6:])["downloaded_bytes"]:
                break
        found = await state(http, server)
        assert found["download"]["total_bytes"] == len(CONTENT)
        assert 0 < found["download"]["downloaded_bytes"] < len(CONTENT)
        go_on.set()
        told = await events(response)
    assert told[-1] == {"type": "done", "id": "remote", "downloaded": True}
    assert {event["total_bytes"] for event in told[:-1]} <= {len(CONTENT)}
    found = await state(http, server)
    assert (found["model_present"], found["download"]) == (True, None)
    async with http.post(url_of(server, "remote"), headers=EVENTS) as response:
        assert (await events(response))[-1]["downloaded"] is False


async def test_who_asks_meanwhile_joins_and_who_leaves_ends_nothing(server, hub, http):
    """One download for all; without events it is answered when the file is here."""
    go_on = asyncio.Event()
    hub.faults[NAME].append(Fault(after_bytes=1000, hold=go_on))
    async with http.post(url_of(server, "remote"), headers=EVENTS) as response:
        await response.content.readline()

    async def joined():
        async with http.post(url_of(server, "remote")) as response:
            return response.status, await response.json()

    while not (await state(http, server))["download"]:
        pass
    call = begun(joined())
    go_on.set()
    assert await call == (200, {"id": "remote", "downloaded": True})
    assert hub.starts(NAME) == [0]


async def test_what_the_hub_refuses_is_told(server, hub, http):
    """As the last event, or as the answer."""
    hub.refuse(NAME, 403)
    async with http.post(url_of(server, "remote"), headers=EVENTS) as response:
        last = (await events(response))[-1]
    assert (last["type"], last["error"]["code"]) == ("error", "model_unavailable")
    async with http.post(url_of(server, "remote")) as response:
        body = await response.json()
        assert (response.status, body["error"]["code"]) == (503, "model_unavailable")


@pytest.mark.parametrize("headers", [{}, EVENTS])
@pytest.mark.parametrize(
    ("alias", "status", "words"),
    [
        ("mine", 403, "can only be put there by hand"),
        ("far", 403, "is served elsewhere"),
        ("nobody", 404, "does not exist"),
    ],
)
async def test_what_is_nowhere_to_be_fetched_is_said_at_once(
    server, http, headers, alias, status, words
):
    """With a status, also to who wants events."""
    async with http.post(url_of(server, alias), headers=headers) as response:
        body = await response.json()
        assert response.status == status
        assert words in body["error"]["message"]


async def test_ordinary_keys_and_pages_of_other_sites_fetch_nothing(start, http, tmp_path):
    """It takes disk and network."""
    path = tmp_path / "keys.toml"
    path.touch(mode=0o600)
    path.write_text(f'[keys.ann]\nhash = "{hash_key("ann")}"\n')
    async with start(Setup(keys=KeyFile(path))) as api:
        url = f"{api.base_url}/processes/whisper-1/pull"
        async with http.post(url, headers={"Authorization": "Bearer ann"}) as response:
            assert response.status == 403
    async with start(Setup()) as api:
        url = f"{api.base_url}/processes/whisper-1/pull"
        async with http.post(url, headers={"Origin": "http://elsewhere.example"}) as response:
            assert response.status == 403
        async with http.post(url) as response:
            assert response.status == 200
