"""speaches: where somebody speaks, and what is none of our business."""

import math
from typing import Any

import aiohttp
import pytest

from support.api_app import Api, sample_path
from whisper_router.api.dialects.speaches import NOT_OURS, vad_options
from whisper_router.api.fields import Fields

THREE = "en_three_segments.wav"


async def find(http: aiohttp.ClientSession, api: Api, **fields: str) -> tuple[int, Any]:
    data = aiohttp.FormData(fields)
    data.add_field("file", sample_path(THREE).read_bytes(), filename=THREE)
    async with http.post(f"{api.base_url}/audio/speech/timestamps", data=data) as answer:
        return answer.status, await answer.json()


async def test_speech_is_told_in_milliseconds(http: aiohttp.ClientSession, api: Api):
    """With the defaults of that server."""
    assert await find(http, api) == (
        200,
        [
            {"start": 300, "end": 1260},
            {"start": 2760, "end": 4150},
            {"start": 6150, "end": 6620},
        ],
    )
    ((vad, longest_s),) = api.speech.asked
    assert (vad.threshold, vad.min_speech_s, vad.min_silence_s, vad.pad_s) == (0.75, 0, 1, 0)
    assert vad.hysteresis == pytest.approx(0.15)
    assert vad.min_contrast_db == 0
    assert longest_s == math.inf


async def test_the_detector_does_as_it_is_told(http: aiohttp.ClientSession, api: Api):
    status, _ = await find(
        http, api, model="silero_vad_v5", threshold="0.4", neg_threshold="0.3",
        min_speech_duration_ms="250", max_speech_duration_s="15", min_silence_duration_ms="300",
        speech_pad_ms="40",
    )  # fmt: skip
    assert status == 200
    ((vad, longest_s),) = api.speech.asked
    assert (vad.min_speech_s, vad.min_silence_s, vad.pad_s) == (0.25, 0.3, 0.04)
    assert vad.threshold - vad.hysteresis == pytest.approx(0.3)
    assert longest_s == 15


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", "1.5"),
        ("neg_threshold", "0.9"),
        ("min_speech_duration_ms", "0.5"),
        ("max_speech_duration_s", "0"),
        ("speech_pad_ms", "-1"),
    ],
)
async def test_numbers_out_of_range_are_refused(
    http: aiohttp.ClientSession, api: Api, name: str, value: str
):
    status, body = await find(http, api, **{name: value})
    assert (status, body["error"]["param"]) == (400, name)
    assert not api.speech.asked


async def test_another_detector_does_not_exist(http: aiohttp.ClientSession, api: Api):
    status, body = await find(http, api, model="pyannote")
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert "silero_vad_v5" in body["detail"]


async def test_without_a_file_nothing_is_found(http: aiohttp.ClientSession, api: Api):
    data = aiohttp.FormData({"threshold": "0.5"}, default_to_multipart=True)
    async with http.post(f"{api.base_url}/audio/speech/timestamps", data=data) as answer:
        assert (answer.status, (await answer.json())["error"]["param"]) == (400, "file")


def test_a_low_threshold_keeps_the_other_one_below_it():
    """It never goes below 0.01, and never above the threshold either."""
    for threshold, leave in (("0.1", 0.01), ("0.005", 0.005), ("0.5", 0.35)):
        options = vad_options(Fields([("threshold", threshold)]))
        assert options.threshold - options.hysteresis == pytest.approx(leave)


@pytest.mark.parametrize("path", NOT_OURS)
async def test_what_we_do_not_do_is_said_to_be_that(
    http: aiohttp.ClientSession, api: Api, path: str
):
    """501 with what there is instead; a missing page would look like a wrong address."""
    body = {"model": "kokoro", "input": "Hello", "voice": "af"}
    async with http.post(f"{api.root}{path}", json=body) as answer:
        found = await answer.json()
    assert (answer.status, found["error"]["code"]) == (501, "not_supported")
    assert "POST /v1/audio/transcriptions" in found["detail"]


async def test_fields_of_its_transcriptions_are_understood(http: aiohttp.ClientSession, api: Api):
    """`vad_filter` is our `vad`; `without_timestamps` changes nothing."""
    data = aiohttp.FormData(
        {"model": "whisper-1", "vad_filter": "false", "without_timestamps": "true",
         "hotwords": "alpha,beta"}
    )  # fmt: skip
    data.add_field("file", sample_path(THREE).read_bytes(), filename=THREE)
    async with http.post(f"{api.base_url}/audio/transcriptions", data=data) as answer:
        assert answer.status == 200
    (request,) = api.recogniser.requests
    assert (request.vad, request.hotwords) == (False, ("alpha", "beta"))
