"""Requests at the edge of what makes sense, against the real server and engine."""

import aiohttp
import pytest


async def ask(server, path, **fields: str) -> tuple[int, dict]:
    form = aiohttp.FormData({"model": "demo", **fields})
    form.add_field("file", path.read_bytes(), filename=path.name)
    timeout = aiohttp.ClientTimeout(total=60)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize(
    "prompt", ["x" * 500_000, "hello world " * 20_000, "\N{PARTY POPPER}" * 9000]
)
async def test_a_prompt_of_any_length_is_taken(server, samples, prompt):
    """Whisper looks at its end only; a long one must not end the engine."""
    status, answer = await ask(server, samples["en_hello_gb.wav"]["path"], prompt=prompt)
    assert (status, answer["text"]) == (200, "hello world")


@pytest.mark.parametrize(
    "fields", [{"language": "yue"}, {"keywords": '["\\ud800"]'}], ids=["language", "keyword"]
)
async def test_what_the_model_cannot_take_is_the_callers_mistake(server, samples, fields):
    """400, as the OpenAI API answers; not 422, and no worker dies of it."""
    status, answer = await ask(server, samples["en_hello_gb.wav"]["path"], **fields)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
