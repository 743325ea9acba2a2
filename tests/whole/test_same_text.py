"""One recording has one text, in whatever format and by whatever route it is asked for."""

import asyncio
import io
import json

import aiohttp
import pytest

from support.client import session
from support.speech import joined
from support.texts import cue_texts, squeezed, streamed_texts

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
NAMES = (
    "en_three_segments.wav",
    "en_noisy_20db.wav",
    "stereo_two_speakers_44k.wav",
    "de_digits.wav",
    "silence.wav",
)


async def post(http: aiohttp.ClientSession, url: str, path, fields: dict[str, str]) -> str:
    """Return the body of the answer to a request with `fields`."""
    form = aiohttp.FormData(fields)
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    async with http.post(url, data=form) as response:
        assert response.status == 200, await response.text()
        return await response.text()


async def texts(http: aiohttp.ClientSession, url: str, path, **fields: str) -> dict[str, str]:
    """Return the text in every format, joined lines of subtitles and both texts of a stream."""
    found = {}
    for wanted in FORMATS:
        body = await post(http, url, path, fields | {"response_format": wanted})
        if wanted.endswith("json"):
            found[wanted] = json.loads(body)["text"]
        elif wanted == "text":
            assert body.endswith("\n")
            found[wanted] = body[:-1]
        else:
            found[wanted] = " ".join(cue_texts(body))
    body = await post(http, url, path, fields | {"stream": "true"})
    found["deltas"], found["done"] = streamed_texts(body)
    return found


@pytest.mark.parametrize("name", NAMES)
async def test_a_recording_has_the_same_text_in_every_format(server, samples, name):
    """Two languages, several segments, noise, two channels and nothing at all."""
    url, path = f"{server.url}/v1/audio/transcriptions", samples[name]["path"]
    async with session() as http, asyncio.timeout(120):
        found = await texts(http, url, path, model="whisper-1", context="false")
    assert set(found.values()) == {found["json"]}, found
    assert squeezed(found["json"]) == found["json"]
    assert bool(found["json"]) == bool(samples[name]["text"])


@pytest.mark.parametrize("model", ["whisper-1", "two-workers"])
async def test_chunks_have_the_same_text_one_by_one_and_at_once(server, samples, tmp_path, model):
    """Two languages, each chunk in its own."""
    parts = [samples[name]["path"] for name in ("de_digits.wav", "en_call_sign.wav")]
    path = joined(tmp_path / "two.wav", *parts)
    url = f"{server.url}/v1/audio/transcriptions"
    async with session() as http, asyncio.timeout(120):
        found = await texts(http, url, path, model=model, language="mixed")
    assert set(found.values()) == {found["json"]}, found
    assert found["json"].count(samples["de_digits.wav"]["text"]) == 1


async def test_translations_have_the_same_text_too(server, samples):
    """From German."""
    url, path = f"{server.url}/v1/audio/translations", samples["de_digits.wav"]["path"]
    async with session() as http, asyncio.timeout(120):
        found = await texts(http, url, path, model="whisper-1")
    assert set(found.values()) == {samples["de_digits.wav"]["translation"]}, found
