"""whisper-asr-webservice: its two routes, with the requests that its clients send."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from support.api_app import HELD, Api, Setup, Start, sample, sample_path
from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.dialects.whisper_asr import as_usual, json_result
from whisper_router.api.forms import parse_order
from whisper_router.audio.media import Encoding, PcmFormat
from whisper_router.domain import Segment, Task, Transcript

HELLO, THREE, SILENCE = "en_hello_gb.wav", "en_three_segments.wav", "silence.wav"


def form(name: str, *, filename: str | None = None) -> aiohttp.FormData:
    data = aiohttp.FormData()
    content = sample_path(name).read_bytes()
    data.add_field("audio_file", content, filename=filename or name, content_type="audio/wav")
    return data


async def asr(
    http: aiohttp.ClientSession, api: Api, name: str, *, filename: str | None = None, **query: str
) -> tuple[str, Mapping[str, str]]:
    """Return body and headers of a good answer."""
    data = form(name, filename=filename)
    async with http.post(f"{api.root}/asr", params=query, data=data) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        return await answer.text(), answer.headers


async def test_text_has_a_line_for_each_segment(http: aiohttp.ClientSession, api: Api):
    """That is what comes without an `output`."""
    text, headers = await asr(http, api, THREE)
    assert text == "red green blue\nopen left close right\nstop\n"
    assert headers["Asr-Engine"] == "samples"
    assert headers["Content-Disposition"] == f'attachment; filename="{THREE}.txt"'


@pytest.mark.parametrize(
    ("output", "beginning"),
    [
        ("srt", "1\n00:00:00,010 --> 00:00:00,720\nhello world\n"),
        ("vtt", "WEBVTT\n\n00:00:00.010 --> 00:00:00.720\nhello world\n"),
        ("tsv", "start\tend\ttext\n10\t720\thello world\n"),
    ],
)
async def test_subtitles(http: aiohttp.ClientSession, api: Api, output: str, beginning: str):
    text, headers = await asr(http, api, HELLO, output=output)
    assert text.startswith(beginning)
    assert headers["Content-Disposition"].endswith(f'.{output}"')


async def json_of(http: aiohttp.ClientSession, api: Api, **query: str) -> Any:
    async with http.post(
        f"{api.root}/asr", params={"output": "json", **query}, data=form(HELLO)
    ) as answer:
        return await answer.json(content_type="text/plain")


async def test_json_is_the_result_of_openai_whisper(http: aiohttp.ClientSession, api: Api):
    """The language is a code; words are in their segments, with the space before them."""
    plain = await json_of(http, api)
    assert set(plain) == {"text", "segments", "language"}
    assert (plain["text"], plain["language"]) == ("hello world", "en")
    assert "words" not in plain["segments"][0]
    (segment,) = (await json_of(http, api, word_timestamps="true"))["segments"]
    assert [word["word"] for word in segment["words"]] == [" hello", " world"]
    assert segment["words"][0]["start"] == segment["start"]
    assert segment["words"][0]["probability"] == 0.9


async def test_the_query_reaches_the_pipeline(http: aiohttp.ClientSession, api: Api):
    """As a Bazarr-class client writes it, with parameters that nobody knows."""
    await asr(
        http, api, "de_digits.wav", task="translate", language="de", output="srt", encode="true",
        initial_prompt="Ziffern", vad_filter="true", video_name="/films/a.mkv",
    )  # fmt: skip
    (request,) = api.recogniser.requests
    assert (request.task, request.language, request.prompt) == ("translate", "de", "Ziffern")
    assert (request.vad, request.model) == (True, "whisper-1")


async def test_raw_samples_may_have_any_name(http: aiohttp.ClientSession, api: Api):
    """encode=false: 16 kHz mono s16le without a header."""
    for name in ("audio_file", "speech.raw", "film.pcm"):
        await asr(http, api, HELLO, filename=name, encode="false")
    raw = PcmFormat(encoding=Encoding.S16LE, rate_hz=16_000, channels=1)
    assert [media.pcm for media, _ in api.recogniser.media] == [raw] * 3


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('filename="a%22b.wav"', "\"a_b.wav.txt\"; filename*=UTF-8''a%22b.wav.txt"),
        ('filename="../../etc/x.wav"', '"x.wav.txt"'),
        ('filename="Grü 1.wav"', "\"Gr_ 1.wav.txt\"; filename*=UTF-8''Gr%C3%BC%201.wav.txt"),
        ("filename*=UTF-8''a%0D%0AX-Evil:%20b.wav", "\"aX-Evil_ b.wav.txt\"; filename*=UTF-8''"),
        ('filename=""', '"audio.txt"'),
    ],
)
async def test_odd_file_names_do_no_harm(
    http: aiohttp.ClientSession, api: Api, sent: str, shown: str
):
    """RFC 6266: one header, with a name that every client can read, and with the full one."""
    content = sample_path(HELLO).read_bytes()
    header = f'--b\r\nContent-Disposition: form-data; name="audio_file"; {sent}\r\n\r\n'
    body = header.encode() + content + b"\r\n--b--"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with http.post(f"{api.root}/asr", data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert "X-Evil" not in answer.headers
        assert answer.headers["Content-Disposition"].startswith(f"attachment; filename={shown}")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"output": "docx"}, "output"),
        ({"task": "sing"}, "task"),
        ({"encode": "perhaps"}, "encode"),
        ({"language": "klingon"}, "language"),
    ],
)
async def test_bad_parameters_are_refused_before_the_upload(
    http: aiohttp.ClientSession, api: Api, query: Mapping[str, str], param: str
):
    """With FastAPI's `detail` beside our error."""
    async with http.post(f"{api.root}/asr", params=query, data=form(HELLO)) as answer:
        body = await answer.json()
        assert answer.status == 400
        assert body["error"]["param"] == param
        assert body["detail"] == body["error"]["message"]
    assert not api.recogniser.requests


async def test_without_the_file_its_own_name_is_in_the_message(
    http: aiohttp.ClientSession, api: Api
):
    data = aiohttp.FormData()
    data.add_field("file", b"x" * 200, filename="a.wav")
    async with http.post(f"{api.root}/asr", data=data) as answer:
        assert answer.status == 400
        assert (await answer.json())["detail"] == "Missing required parameter: 'audio_file'."


async def detected(http: aiohttp.ClientSession, api: Api, name: str, **query: str) -> Any:
    async with http.post(f"{api.root}/detect-language", params=query, data=form(name)) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_the_language_is_told_with_its_name(http: aiohttp.ClientSession, api: Api):
    answer = await detected(http, api, "de_digits.wav")
    assert answer == {"detected_language": "german", "language_code": "de", "confidence": 0.9}


async def test_of_silence_no_language_is_made_up(http: aiohttp.ClientSession, api: Api):
    answer = await detected(http, api, SILENCE)
    assert answer == {"detected_language": "unknown", "language_code": "und", "confidence": 0.0}


async def test_nothing_is_computed_once_the_language_is_known(
    http: aiohttp.ClientSession, api: Api
):
    """The model `held` would stop after its first segment and wait for ever."""
    async with asyncio.timeout(15):
        answer = await detected(http, api, THREE, model=HELD)
    assert answer["language_code"] == sample(THREE)["language"]
    assert api.recogniser.closed.is_set()
    assert not api.recogniser.reached.is_set()


async def test_the_dialect_can_be_left_out(http: aiohttp.ClientSession, start: Start):
    """Its paths are then unknown ones."""
    options = DialectOptions(enabled=frozenset({Dialect.WHISPER_CPP}))
    async with (
        start(Setup(dialects=options)) as api,
        http.post(f"{api.root}/asr", data=form(HELLO)) as answer,
    ):
        assert answer.status == 404


@pytest.mark.parametrize("filename", ["film.avi", "a.ts", "b.wmv", "c.m4v", "d.flv", "e.m2ts"])
async def test_the_content_of_a_file_decides_not_its_name(
    http: aiohttp.ClientSession, api: Api, filename: str
):
    """Films have any extension, for both of the routes."""
    text, headers = await asr(http, api, HELLO, filename=filename)
    assert text == "hello world\n"
    assert f"{filename}.txt" in headers["Content-Disposition"]
    data = form(HELLO, filename=filename)
    async with http.post(f"{api.root}/detect-language", data=data) as answer:
        assert (await answer.json())["language_code"] == "en"


def test_speakers_are_called_as_whisperx_calls_them():
    """In WebVTT, too, where others have a tag."""
    said = [
        Segment(start_s=0, end_s=1, text=" Hi.", speaker="B"),
        Segment(start_s=1, end_s=2, text=" Yes.", speaker="A"),
    ]
    transcript = Transcript(task=Task.TRANSCRIBE, language="en", duration_s=2.0, segments=said)
    for output in ("vtt", "srt", "tsv"):
        fields = [("model", "m"), ("response_format", output)]
        written = as_usual(transcript, parse_order(fields, task=Task.TRANSCRIBE)).decode()
        assert "[SPEAKER_00]: Hi." in written
        assert "[SPEAKER_01]: Yes." in written
    segments = json.loads(json_result(transcript))["segments"]
    assert [segment["speaker"] for segment in segments] == ["SPEAKER_00", "SPEAKER_01"]
