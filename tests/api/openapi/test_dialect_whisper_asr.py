"""whisper-asr-webservice's part against its routes."""

import json

import aiohttp
import pytest

from support.api_app import Api, sample_path
from support.openapi import check, check_answer, described
from whisper_router.api.dialects.whisper_asr import FILE_PART, PASSED_ON

THREE = "en_three_segments.wav"


def form() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field(FILE_PART, sample_path(THREE).read_bytes(), filename=THREE)
    return data


@pytest.mark.parametrize("url", ["/detect-language", "/asr", "/asr?output=vtt", "/asr?task=sing"])
async def test_answers_are_as_described(api: Api, http: aiohttp.ClientSession, url: str):
    """Also the one with an error."""
    async with http.post(api.root + url, data=form()) as answer:
        assert (answer.status == 200) == ("sing" not in url)
        await check_answer(url.partition("?")[0], answer)


async def test_the_result_in_the_text_is_as_described(api: Api, http: aiohttp.ClientSession):
    """A client parses it although it is sent as text."""
    url = f"{api.root}/asr?output=json&word_timestamps=true"
    async with http.post(url, data=form()) as answer:
        body = json.loads(await answer.text())
    told = described()
    check(told, told["components"]["schemas"]["AsrResult"], body)
    assert body["segments"][0]["words"]


def test_every_parameter_that_is_passed_on_is_described():
    """In the query, under that server's name."""
    operation = described()["paths"]["/asr"]["post"]
    assert set(PASSED_ON) <= {item["name"] for item in operation["parameters"]}
