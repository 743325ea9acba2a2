"""Who speaks when, as speaches answers it. Real channels: tests/whole/test_diarization.py."""

import io

import aiohttp
import pytest

from support.api_app import Api, sample, sample_path

NAME = "en_hello_gb.wav"


def form(**fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(fields)
    data.add_field("file", io.BytesIO(sample_path(NAME).read_bytes()), filename=NAME)
    return data


async def test_turns_have_speakers_and_times(api: Api, http: aiohttp.ClientSession):
    """A model that is not ours does not matter: what is installed listens."""
    url = f"{api.root}/v1/audio/diarization"
    async with http.post(url, data=form(model="pyannote", known_speaker_names="ann")) as answer:
        body = await answer.json()
    seconds = sample(NAME)["seconds"]
    assert body == {
        "duration": seconds,
        "segments": [{"start": 0.0, "end": seconds, "speaker": "ann"}],
    }
    async with http.post(url, data=form(response_format="rttm")) as answer:
        assert (await answer.text()).split()[:3] == ["SPEAKER", "audio", "1"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "srt"}, "response_format"),
        ({"min_speakers": "0"}, "min_speakers"),
        ({"diarize": "false"}, "diarize"),
    ],
)
async def test_what_is_wrong_is_named(
    api: Api, http: aiohttp.ClientSession, fields: dict[str, str], param: str
):
    url = f"{api.root}/v1/audio/diarization"
    async with http.post(url, data=form(**fields)) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["param"] == param
