"""whisper.cpp's own server: its form and its answers."""

import asyncio
from typing import Any

import aiohttp
import pytest

from support.api_app import HELD, Api, sample_path
from whisper_router.api.dialects.whisper_cpp import Written, understood
from whisper_router.domain import Task
from whisper_router.errors import InvalidParameter

HELLO, THREE, SILENCE = "en_hello_gb.wav", "en_three_segments.wav", "silence.wav"


def form(name: str, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("file", sample_path(name).read_bytes(), filename=name)
    for field, value in fields.items():
        data.add_field(field, value)
    return data


async def infer(http: aiohttp.ClientSession, api: Api, name: str, **fields: str) -> tuple[str, str]:
    """Return body and content type of a good answer."""
    async with http.post(f"{api.root}/inference", data=form(name, **fields)) as answer:
        body = await answer.text()
        assert answer.status == 200, body
        return body, answer.headers["Content-Type"]


async def verbose(http: aiohttp.ClientSession, api: Api, name: str, **fields: str) -> Any:
    data = form(name, response_format="verbose_json", **fields)
    async with http.post(f"{api.root}/inference", data=data) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest.mark.parametrize(
    ("written", "content_type", "beginning"),
    [
        ("json", "application/json", '{"text":" hello world\\n"}'),
        ("text", "text/plain; charset=utf-8", " hello world\n"),
        ("srt", "application/x-subrip; charset=utf-8", "1\n00:00:00,010 --> 00:00:00,720\nhello"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT\n\n00:00:00.010 --> 00:00:00.720\nhello"),
    ],
)
async def test_formats(
    http: aiohttp.ClientSession, api: Api, written: str, content_type: str, beginning: str
):
    """Each segment is a line of the text, with its leading space."""
    body, found = await infer(http, api, HELLO, response_format=written)
    assert found == content_type
    assert body.startswith(beginning)


async def test_json_is_what_comes_without_a_format(http: aiohttp.ClientSession, api: Api):
    body, _ = await infer(http, api, THREE)
    assert body == '{"text":" red green blue\\n open left close right\\n stop\\n"}'


async def test_verbose_json_has_its_words_in_the_segments(http: aiohttp.ClientSession, api: Api):
    """And the language by its name, with how sure that is."""
    body = await verbose(http, api, HELLO)
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 1.03)
    assert (body["detected_language"], body["detected_language_probability"]) == ("english", 0.9)
    (segment,) = body["segments"]
    assert (segment["id"], segment["text"]) == (0, " hello world")
    assert {word["word"] for word in segment["words"]} == {" hello", " world"}
    assert set(segment["words"][0]) == {"word", "start", "end", "t_dtw", "probability"}
    assert (segment["start"], segment["end"]) == (0.01, 0.72)


async def test_what_was_not_asked_for_is_left_out(http: aiohttp.ClientSession, api: Api):
    """Times and probabilities of languages; a language that was named was not detected."""
    body = await verbose(http, api, HELLO, no_timestamps="true", no_language_probabilities="true")
    assert "start" not in body["segments"][0]
    assert set(body["segments"][0]["words"][0]) == {"word", "probability"}
    assert "detected_language" not in body
    assert "detected_language" not in await verbose(http, api, HELLO, language="en")


async def test_detecting_the_language_ends_there(http: aiohttp.ClientSession, api: Api):
    """The model `held` would wait for ever after its first segment."""
    async with asyncio.timeout(15):
        body = await verbose(http, api, "de_digits.wav", detect_language="true", model=HELD)
    assert (body["language"], body["segments"], body["text"]) == ("german", [], "")
    assert "duration" not in body
    assert not api.recogniser.reached.is_set()


async def test_silence_has_no_language(http: aiohttp.ClientSession, api: Api):
    body = await verbose(http, api, SILENCE)
    assert (body["language"], body["segments"]) == ("unknown", [])
    assert "detected_language" not in body


async def test_subtitles_are_as_short_as_asked_for(http: aiohttp.ClientSession, api: Api):
    body, _ = await infer(
        http, api, HELLO, response_format="srt", max_len="8", split_on_word="true"
    )
    assert "hello\n\n2\n" in body


async def test_the_form_reaches_the_pipeline(http: aiohttp.ClientSession, api: Api):
    """With the defaults that its clients send; -1 decoders are the default number."""
    await infer(
        http, api, "de_digits.wav", translate="true", language="auto", prompt="Ziffern",
        temperature="0.2", temperature_inc="0.4", beam_size="-1", best_of="2",
        entropy_thold="2.4", logprob_thold="-1.0", no_speech_thold="0.6", suppress_nst="true",
        vad="true", vad_threshold="0.4", vad_speech_pad_ms="30", vad_min_silence_duration_ms="100",
        offset_t="0", duration="0", audio_ctx="0", max_context="-1", word_thold="0.01",
        debug_mode="false", tinydiarize="false", carry_initial_prompt="false", stream="true",
    )  # fmt: skip
    (request,) = api.recogniser.requests
    assert (request.task, request.language, request.prompt) == ("translate", None, "Ziffern")
    decoding = request.decoding
    assert (decoding.temperature, decoding.temperature_increment) == (0.2, 0.4)
    assert (decoding.beam_size, decoding.best_of) == (None, 2)
    assert (decoding.entropy_threshold, decoding.logprob_threshold) == (2.4, -1.0)
    assert (decoding.no_speech_threshold, decoding.suppress_nst) == (0.6, True)
    speech = request.speech
    assert (request.vad, speech.threshold, speech.pad_s, speech.min_silence_s) == (
        True, 0.4, 0.03, 0.1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response_format", "lrc"),
        ("offset_t", "5000"),
        ("duration", "1"),
        ("translate", "please"),
        ("beam_size", "many"),
        ("max_len", "-3"),
    ],
)
def test_what_cannot_be_done_is_refused(name: str, value: str):
    """Rather than transcribed as if it had not been asked for."""
    with pytest.raises(InvalidParameter) as caught:
        understood([(name, value)])
    assert caught.value.param == name


def test_speech_is_looked_for_in_its_own_way_only_on_request():
    wish = understood([("vad_threshold", "0.4"), ("max_len", "60")])
    assert (wish.written, wish.task) == (Written.JSON, Task.TRANSCRIBE)
    names = [name for name, _ in wish.fields]
    assert "chunking_strategy" not in names
    assert "max_line_width" not in names


async def test_models_are_not_loaded_by_path(http: aiohttp.ClientSession, api: Api):
    """The message says what to do instead."""
    data = aiohttp.FormData({"model": "/models/ggml-base.bin"})
    async with http.post(f"{api.root}/load", data=data) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "not_supported", "model")
    assert "/v1/processes/NAME/load" in error["message"]


async def test_errors_are_ours(http: aiohttp.ClientSession, api: Api):
    async with http.post(f"{api.root}/inference", data=form(HELLO, model="none")) as answer:
        body = await answer.json()
    assert (answer.status, body["error"]["code"]) == (404, "model_not_found")
    assert "detail" not in body


@pytest.mark.parametrize("filename", ["film.avi", "a.ts", "b.wmv", "c.m4v", "d.flv", "e.m2ts"])
async def test_the_content_of_a_file_decides_not_its_name(
    http: aiohttp.ClientSession, api: Api, filename: str
):
    data = aiohttp.FormData()
    data.add_field("file", sample_path(HELLO).read_bytes(), filename=filename)
    async with http.post(f"{api.root}/inference", data=data) as answer:
        assert answer.status == 200, await answer.text()
