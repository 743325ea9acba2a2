"""whisper.cpp's part against its routes."""

from unittest.mock import patch

import aiohttp
import pytest

from support.api_app import Api, sample_path
from support.openapi import check_answer
from whisper_router.api.dialects.whisper_cpp import Written, understood
from whisper_router.api.fields import Fields
from whisper_router.api.openapi.dialect_whisper_cpp import TAKEN, fields
from whisper_router.api.openapi.form import common
from whisper_router.errors import InvalidParameter

HELLO = "en_hello_gb.wav"
OURS = {item.name for item in common()}
OWN = {item.name: item.schema for item in fields() if item.name not in TAKEN}


@pytest.mark.parametrize("written", [*Written, "pdf"])
async def test_answers_are_as_described(api: Api, http: aiohttp.ClientSession, written: str):
    """In every format, and an error."""
    data = aiohttp.FormData({"response_format": written})
    data.add_field("file", sample_path(HELLO).read_bytes(), filename=HELLO)
    async with http.post(f"{api.root}/inference", data=data) as answer:
        assert (answer.status == 200) == (written in set(Written))
        await check_answer("/inference", answer)


async def test_a_path_is_refused_as_described(api: Api, http: aiohttp.ClientSession):
    async with http.post(f"{api.root}/load") as answer:
        assert answer.status == 400
        await check_answer("/load", answer)


def test_every_field_that_is_understood_is_described():
    """And no other is."""
    asked: set[str] = set()
    text = Fields.text

    def noted(self: Fields, *names: str) -> str | None:
        asked.update(names)
        return text(self, *names)

    sent = [("response_format", "srt"), ("vad", "true"), ("vad_threshold", "0.5")]
    with patch.object(Fields, "text", noted):
        understood(sent)
    assert asked - {"model"} == set(OWN)
    assert set(TAKEN) <= OURS


@pytest.mark.parametrize("name", ["offset_t", "offset_n", "duration", "max_len"])
def test_limits_are_those_of_the_parser(name: str):
    """0 is accepted; what is below, or above what is described, is not."""
    schema = OWN[name]
    understood([(name, "0")])
    with pytest.raises(InvalidParameter):
        understood([(name, str(schema["minimum"] - 1))])
    if "maximum" in schema:
        with pytest.raises(InvalidParameter):
            understood([(name, str(schema["maximum"] + 1))])
