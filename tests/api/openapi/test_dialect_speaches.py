"""speaches' part against its routes."""

import aiohttp
import pytest

from support.api_app import Api, sample_path
from support.openapi import check_answer
from whisper_router.api.dialects.speaches import vad_options
from whisper_router.api.dialects.speaches_models import ModelTask
from whisper_router.api.fields import Fields
from whisper_router.api.openapi.dialect_speaches import speech_fields
from whisper_router.errors import InvalidParameter

NAME = "en_hello_gb.wav"
GOOD = [
    ("get", "/v1/registry", "/v1/registry?task=text-to-speech"),
    *(("get", path, path) for path in ("/v1/models", "/api/ps", "/v1/audio/voices")),
    ("post", "/v1/models/{id}", "/v1/models/whisper-1"),
    ("post", "/v1/audio/speech", "/v1/audio/speech"),
    ("get", "/v1/models/{id}", "/v1/models/no-such"),
    ("post", "/api/ps/{id}", "/api/ps/no-such"),
]


@pytest.mark.parametrize(("method", "path", "url"), GOOD)
async def test_answers_are_as_described(
    api: Api, http: aiohttp.ClientSession, method: str, path: str, url: str
):
    """Good ones, and errors, which have FastAPI's `detail`."""
    async with http.request(method, api.root + url) as answer:
        body = await check_answer(path, answer)
        assert answer.status < 400 or body["detail"] == body["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/audio/speech/timestamps", "/v1/audio/diarization"])
async def test_where_somebody_speaks_is_told_as_described(
    api: Api, http: aiohttp.ClientSession, path: str
):
    data = aiohttp.FormData()
    data.add_field("file", sample_path(NAME).read_bytes(), filename=NAME)
    async with http.post(api.root + path, data=data) as answer:
        assert answer.status == 200
        assert await check_answer(path, answer)


@pytest.mark.parametrize(
    ("name", "limit"),
    [(item.name, item.schema["maximum"]) for item in speech_fields() if "maximum" in item.schema],
)
def test_limits_are_those_of_the_parser(name: str, limit: float):
    """The limit is accepted, what is beyond it is not."""
    vad_options(Fields([("threshold", "1"), (name, str(limit))]))
    with pytest.raises(InvalidParameter) as caught:
        vad_options(Fields([("threshold", "1"), (name, str(limit + 1))]))
    assert caught.value.param == name


async def test_every_task_is_accepted(api: Api, http: aiohttp.ClientSession):
    """The enumeration is the code's."""
    for task in ModelTask:
        async with http.get(f"{api.root}/v1/models?task={task}") as answer:
            assert answer.status == 200
            await check_answer("/v1/models", answer)
