"""What is said in a recording gets into no log; whose request a line is about does."""

import asyncio
import json
import re

import aiohttp
import pytest

from support.client import ask, session
from support.engine_processes import forked_workers, worker_at_work
from support.processes import begun
from support.server import running_server
from support.speech import sample

CONFIG = """
default_model = "demo"
[server]
log_level = "debug"
"""
SPEECH = sample("en_two_speakers_long")
WORDS = sorted({word for word in SPEECH.text.split() if len(word) > 4})
LIMIT_S = 60


@pytest.fixture
def server(tmp_path):
    """A server that logs all it can."""
    with running_server(tmp_path, config=CONFIG) as running:
        yield running


async def printed(http: aiohttp.ClientSession, url: str) -> list[str]:
    """Return what the engine's processes have printed."""
    async with http.get(f"{url}/v1/processes/demo/logs", params={"lines": "200"}) as response:
        return (await response.json())["data"]


async def test_no_word_that_was_heard_is_in_a_log(server):
    """Nor in what engines print, also when a worker dies at work and its chunk runs again."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        _, undisturbed = await ask(http, server.url, SPEECH.path, prompt="a secret prompt")
        running = begun(ask(http, server.url, SPEECH.path, prompt="a secret prompt"))
        (await asyncio.to_thread(worker_at_work, server)).kill()
        assert (await running)[1] == undisturbed
        leader = forked_workers(server)[0].parent()
        leader.terminate()
        await asyncio.to_thread(server.wait_for_log, "engine_crashed")
        assert (await ask(http, server.url, SPEECH.path))[0] == 200
        lines = await printed(http, server.url)
    assert set(WORDS) <= set(undisturbed["text"].split())
    told = "\n".join([*(json.dumps(line) for line in server.log), *lines]).lower()
    assert [word for word in (*WORDS, "secret prompt") if word in told] == []


async def test_lines_say_of_which_request_they_are(server):
    """Of the router and of the engine; a crash is nobody's, though somebody's request began it."""
    async with asyncio.timeout(LIMIT_S), session() as http:
        http.headers["X-Request-ID"] = "call-7"
        assert (await ask(http, server.url, SPEECH.path, model="demo"))[0] == 200
        # The answer may be here before what the engine prints.
        while " done after " not in "".join(lines := await printed(http, server.url)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        forked_workers(server)[0].parent().kill()
        crash = await asyncio.to_thread(server.wait_for_log, "engine_crashed")
    about = "\n".join(line for line in lines if "request_id=" in line)
    assert set(re.findall(r"request_id=(\S+)", about)) == {"call-7"}
    assert " begun" in about
    assert " done after " in about
    events = {line["event"] for line in server.log if line.get("request_id") == "call-7"}
    assert {"chunk_began", "chunk_ended", "request_done"} <= events
    assert "request_id" not in crash
