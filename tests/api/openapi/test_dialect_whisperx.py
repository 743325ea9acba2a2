"""whisperX API server's part against its forms."""

from unittest.mock import patch

import aiohttp
import pytest

from support.api_app import Api, Setup, Start, sample_path
from support.openapi import check_answer, described
from whisper_router.api.deps import DialectOptions
from whisper_router.api.dialects.whisperx_form import PASSED_ON, parse_form
from whisper_router.api.fields import Fields
from whisper_router.api.openapi.dialect_whisperx import fields
from whisper_router.api.openapi.parts import ALSO_AT
from whisper_router.domain import Task

HELLO = "en_hello_gb.wav"
CREATE = "/whisperx/v1/audio/transcriptions"


def form(**more: str) -> aiohttp.FormData:
    data = aiohttp.FormData(more)
    data.add_field("file", sample_path(HELLO).read_bytes(), filename=HELLO)
    return data


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "vtt_json", "vtt", "aud", "rttm"])
async def test_answers_are_as_described(api: Api, http: aiohttp.ClientSession, wanted: str):
    """In every kind of format; one is refused where speakers are not told apart."""
    async with http.post(api.root + CREATE, data=form(response_format=wanted)) as answer:
        assert answer.status == (422 if wanted == "rttm" else 200)
        await check_answer(CREATE, answer)


async def test_a_segment_list_is_as_described(api: Api, http: aiohttp.ClientSession):
    """Without alignment it is no object."""
    data = form(response_format="verbose_json", align="false")
    async with http.post(api.root + CREATE, data=data) as answer:
        body = await check_answer(CREATE, answer)
    assert isinstance(body["segments"], list)


def test_every_field_that_is_understood_is_described():
    """Of transcriptions; those of translations are among them."""
    asked: set[str] = set()
    text, words = Fields.text, Fields.words

    def noted(self: Fields, *names: str) -> str | None:
        asked.update(names)
        return text(self, *names)

    def noted_words(self: Fields, name: str):
        asked.add(name)
        return words(self, name)

    with patch.object(Fields, "text", noted), patch.object(Fields, "words", noted_words):
        parse_form([], Task.TRANSCRIBE)
    told = {item.name.removesuffix("[]") for item in fields(Task.TRANSCRIBE)}
    assert told == (asked | PASSED_ON) - {"file"}
    assert {item.name for item in fields(Task.TRANSLATE)} < {
        item.name for item in fields(Task.TRANSCRIBE)
    }


def test_ours_moves_where_the_root_is_whisperx():
    """To the path that is left to it."""
    paths = described(whisperx_root=True)["paths"]
    assert "post" not in paths["/v1/audio/transcriptions"]
    assert paths["/audio/transcriptions"]["post"]["operationId"] == "createTranscription"
    assert paths[CREATE]["post"][ALSO_AT] == ["/v1/audio/transcriptions"]


async def test_the_root_takes_its_form(start: Start, http: aiohttp.ClientSession):
    """As `x-also-at` says."""
    setup = Setup(dialects=DialectOptions(whisperx_root=True))
    async with start(setup) as api:
        url = f"{api.root}/v1/audio/transcriptions"
        async with http.post(url, data=form(response_format="verbose_json")) as answer:
            assert "word_segments" in (await check_answer(CREATE, answer))["segments"]
