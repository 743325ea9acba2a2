"""Workers are killed all the time; a real server answers every request as if they were not."""

import asyncio
import os
import random
import signal

import pytest

from support.chaos import Case, answers, keepers, killing, state_left
from support.client import ask, session
from support.engine_processes import worker_at_work
from support.freed import until_none
from support.processes import gone
from support.server import running_server
from support.speech import joined

pytestmark = pytest.mark.alone

CONFIG = """
default_model = "demo"
[models.demo]
model = "demo"
workers = 2
"""
CLIPS = ("en_call_sign", "en_hello_gb", "en_digits_fast", "de_digits", "en_three_segments")
REQUESTS = 24
KILLS = 30
"""Fewer than the interruptions that one chunk endures, so that no machine is too slow for this."""


@pytest.fixture
def server(tmp_path):
    """A server of its own: nobody else's requests run while its workers are killed."""
    with running_server(tmp_path, config=CONFIG) as running:
        yield running


@pytest.fixture(scope="module")
def long_wav(samples, tmp_path_factory):
    """Three minutes in some six chunks: what is killed while it runs is not done yet."""
    parts = [samples["en_two_speakers_long.wav"]["path"]] * 3
    return joined(tmp_path_factory.mktemp("chaos") / "long.wav", *parts, silence_s=1.0)


@pytest.mark.timeout(300)
async def test_every_request_is_answered_correctly_while_workers_are_killed(
    server, samples, tmp_path
):
    """Whichever worker, every 300 ms; whole answers and streams; nothing is left over."""
    files = [samples[f"{name}.wav"] for name in CLIPS]
    cases = [
        Case(path=files[number % len(files)]["path"], stream=number % 2 == 0)
        for number in range(REQUESTS)
    ]
    async with killing(server, every_s=0.3, at_most=KILLS, dice=random.Random(1)) as kills:
        found = await answers(server, cases, at_once=4)
    right = {file["path"]: file["text"] for file in files}
    assert [(a.problem, a.text) for a in found] == [(None, right[case.path]) for case in cases]
    assert kills.done > 10
    server.wait_for_log("chunk_interrupted")
    assert await state_left(server, workers_wanted=2) == []
    assert not [line for line in server.log if line["event"] in ("chunk_lost", "engine_crashed")]
    await until_none(tmp_path, "*.f32")


async def test_an_engine_that_is_killed_with_all_its_workers_costs_nothing_but_time(
    server, long_wav
):
    """The one that holds the weights: the workers die with it, another one is started."""
    async with session() as http, asyncio.timeout(90):
        undisturbed = await ask(http, server.url, long_wav)
        request = asyncio.get_running_loop().create_task(ask(http, server.url, long_wav))
        for _ in range(2):
            await asyncio.to_thread(worker_at_work, server)
            (keeper,) = keepers(server)
            os.kill(keeper, signal.SIGKILL)
            await gone(keeper)
        assert await request == undisturbed
    server.wait_for_log("chunk_interrupted", count=2)
    assert await state_left(server, workers_wanted=2) == []


async def test_a_worker_that_crashes_twice_on_the_same_audio_is_still_the_audios_fault(
    server, samples, long_wav
):
    """422, and the same bytes are refused for a while; other audio is heard."""
    async with session() as http, asyncio.timeout(90):
        request = asyncio.get_running_loop().create_task(
            ask(http, server.url, long_wav, vad="false", language="en")
        )
        for _ in range(2):
            worker = await asyncio.to_thread(worker_at_work, server)
            os.kill(worker.pid, signal.SIGSEGV)
            await gone(worker.pid)
        status, answer = await request
        assert (status, answer["error"]["code"]) == (422, "audio_rejected")
        status, answer = await ask(http, server.url, long_wav, vad="false", language="en")
        assert (status, answer["error"]["code"]) == (422, "audio_rejected")
        status, answer = await ask(http, server.url, samples["en_hello_gb.wav"]["path"])
        assert (status, answer["text"]) == (200, "hello world")
    server.wait_for_log("chunk_lost", count=2)
    assert await state_left(server, workers_wanted=2) == []
