"""A request for a model that is not here fetches it; nobody else is disturbed."""

import asyncio

import pytest

from support.client import ask, session, state_of
from support.hub import Fault, Hub
from support.server import running_server
from whisper_router_engines.whispercpp.engine import DEMO_MODEL

REPO, FILE = "somebody/models", "ggml-remote.bin"
CONFIG = f"""
default_model = "demo"
[store]
offline = false
min_free_bytes = 0
{{store}}
[models.remote]
repo = "{REPO}"
file = "{FILE}"
[models.missing]
repo = "{REPO}"
file = "no-such-file.bin"
"""


@pytest.fixture
async def hub():
    """A hub that has the demo model under another name."""
    async with Hub().running() as running:
        running.add(f"{REPO}/{FILE}", DEMO_MODEL.read_bytes())
        yield running


def start(tmp_path, hub, store: str = ""):
    env = {"WHISPER_ROUTER__STORE__OFFLINE": "false", "HF_ENDPOINT": hub.url}
    return running_server(tmp_path, config=CONFIG.format(store=store), env=env)


async def test_the_first_request_fetches_the_model_and_others_wait_for_the_same_download(
    tmp_path, hub, samples
):
    """Three requests at once, one download, three right answers, another alias meanwhile."""
    may_go_on = asyncio.Event()
    hub.faults[f"{REPO}/{FILE}"].append(Fault(after_bytes=1000, hold=may_go_on))
    path = samples["en_hello_gb.wav"]["path"]
    with start(tmp_path, hub) as server:
        async with session() as http, asyncio.timeout(80), asyncio.TaskGroup() as group:
            waiting = [
                group.create_task(ask(http, server.url, path, model="remote")) for _ in range(3)
            ]
            while (state := await state_of(http, server.url, "remote"))["state"] != "downloading":
                assert state["state"] == "absent"
            status, answer = await ask(http, server.url, path, model="demo")
            assert (status, answer["text"]) == (200, "hello world")
            assert not any(task.done() for task in waiting)
            may_go_on.set()
        assert [task.result()[0] for task in waiting] == [200] * 3
        assert {task.result()[1]["text"] for task in waiting} == {"hello world"}
    assert hub.starts(f"{REPO}/{FILE}") == [0]


async def test_a_server_told_not_to_wait_answers_503_until_the_model_is_here(
    tmp_path, hub, samples
):
    """The message says what happens; Retry-After says when to come back."""
    path = samples["en_hello_gb.wav"]["path"]
    with start(tmp_path, hub, "wait_s = 0") as server:
        async with session() as http, asyncio.timeout(60):
            status, answer = await ask(http, server.url, path, model="remote")
            assert (status, answer["error"]["code"]) == (503, "model_unavailable")
            while status == 503:
                status, answer = await ask(http, server.url, path, model="remote")
            assert (status, answer["text"]) == (200, "hello world")


async def test_a_file_that_the_hub_does_not_have_is_named(tmp_path, hub, samples):
    """503 with repository and file; the server goes on."""
    path = samples["en_hello_gb.wav"]["path"]
    with start(tmp_path, hub) as server:
        async with session() as http, asyncio.timeout(60):
            status, answer = await ask(http, server.url, path, model="missing")
            assert status == 503
            assert "no-such-file.bin" in answer["error"]["message"]
            status, answer = await ask(http, server.url, path)
            assert (status, answer["text"]) == (200, "hello world")
