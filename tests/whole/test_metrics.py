"""Figures of the whole server: what is done is counted where it is done."""

import asyncio
import io

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.client import ask, session
from support.job_receiver import receiver
from support.server import running_server
from support.speech import sample

CONFIG = """
default_model = "demo"
[jobs]
directory = "{folder}/state"
[outbound]
allow_private = true
"""
HELLO = sample("en_hello_gb")


@pytest.fixture
def server(tmp_path):
    with running_server(tmp_path, config=CONFIG.format(folder=tmp_path)) as running:
        yield running


async def figures(http: aiohttp.ClientSession, url: str) -> dict[str, float]:
    """Return the sums over all labels."""
    async with http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for found in family.samples:
            name = found.name.removeprefix("whisper_router_")
            sums[name] = sums.get(name, 0.0) + found.value
    return sums


async def test_work_is_counted(server, tmp_path):
    """Audio, chunks, engines, jobs and webhooks."""
    async with session() as http, receiver(tmp_path) as web, asyncio.timeout(60):
        status, _ = await ask(http, server.url, HELLO.path)
        assert status == 200
        form = aiohttp.FormData({"model": "demo", "webhook": f"{web.url}/hook"})
        form.add_field("file", io.BytesIO(HELLO.path.read_bytes()), filename="hello.wav")
        async with http.post(f"{server.url}/v1/jobs", data=form) as answer:
            assert answer.status == 202
        await web.until(1)
        while not (found := await figures(http, server.url)).get("webhook_calls_total"):
            pass  # it is counted once its answer was noted
    assert found["transcriptions_total"] == 2
    assert found["audio_seconds_total"] == pytest.approx(2 * HELLO.seconds, abs=0.1)
    assert 0 < found["speech_seconds_total"] <= found["audio_seconds_total"]
    assert found["chunk_duration_seconds_count"] == found["queue_wait_seconds_count"] == 2
    assert found["model_load_seconds_count"] == found["process_starts_total"] == 1
    assert found["process_memory_bytes"] > 1 << 20
    assert found["process_state"] == 1
    assert found["jobs_ended_total"] == found["jobs"] == found["webhook_calls_total"] == 1
