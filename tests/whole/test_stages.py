"""What requests ask of the stages, before a real engine."""

import asyncio
import io
import json

import aiohttp
import pytest

from support.client import session

SAMPLE = "en_hello_gb.wav"


@pytest.fixture
async def http():
    async with session() as http, asyncio.timeout(60):
        yield http


async def test_the_stage_transcription_is_the_models_engine(server, samples, http):
    """Another one is refused with those that are installed, the model's own changes nothing."""

    async def send(engine: str) -> tuple[int, dict]:
        form = aiohttp.FormData([("model", "demo"), ("transcription", engine)])
        content = samples[SAMPLE]["path"].read_bytes()
        form.add_field("file", io.BytesIO(content), filename=SAMPLE)
        async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as answer:
            return answer.status, json.loads(await answer.text())

    status, body = await send("whispercpp")
    assert (status, body["text"]) == (200, samples[SAMPLE]["text"])
    for other in ("upstream", "faster-whisper"):
        status, body = await send(other)
        error = body["error"]
        assert (status, error["param"]) == (400, "transcription")
        assert error["code"] == "unsupported_value"
        assert "by the engine 'whispercpp'" in error["message"]
        assert "'upstream', 'whisper_server', 'whispercpp'" in error["message"]
