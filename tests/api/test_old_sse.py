"""The stream of faster-whisper-server, behind its setting."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from support.api_app import HELD, LATE_CRASH, NO_START, Api, Setup, Start, sample_path
from whisper_router.api.deps import DialectOptions

THREE = "en_three_segments.wav"
TEXTS = ["red green blue", "open left close right", "stop"]


@pytest.fixture
async def old(start: Start) -> AsyncIterator[Api]:
    async with start(Setup(dialects=DialectOptions(old_sse=True))) as api:
        yield api


def form(**fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData({"model": "whisper-1", "stream": "true"} | fields)
    data.add_field("file", sample_path(THREE).read_bytes(), filename=THREE)
    return data


async def events(http: aiohttp.ClientSession, api: Api, **fields: str) -> list[str]:
    """Return the data of each event, as a browser puts its lines together."""
    url = f"{api.base_url}/audio/transcriptions"
    async with http.post(url, data=form(**fields)) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        frames = (await answer.text()).split("\n\n")
    assert frames.pop() == ""
    lines = [frame.split("\n") for frame in frames]
    assert all(line.startswith("data: ") for group in lines for line in group)
    return ["\n".join(line.removeprefix("data: ") for line in group) for group in lines]


async def test_each_event_is_a_whole_answer(http: aiohttp.ClientSession, old: Api):
    """One for each segment and no last one."""
    found = [json.loads(data) for data in await events(http, old)]
    assert [answer["text"] for answer in found] == TEXTS
    assert await events(http, old, response_format="text") == TEXTS


async def test_a_segment_keeps_its_time(http: aiohttp.ClientSession, old: Api):
    found: list[Any] = [
        json.loads(data) for data in await events(http, old, response_format="verbose_json")
    ]
    assert [answer["segments"][0]["start"] for answer in found] == [0.3, 2.76, 6.15]
    assert [answer["duration"] for answer in found] == [1.26, 4.15, 6.62]
    assert {answer["language"] for answer in found} == {"english"}


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("srt", "1\n00:00:00,300 --> 00:00:01,260\nred green blue"),
        ("vtt", "WEBVTT\n\n00:00:00.300 --> 00:00:01.260\nred green blue"),
    ],
)
async def test_subtitles_are_streamed_too(
    http: aiohttp.ClientSession, old: Api, wanted: str, first: str
):
    """An answer of several lines is an event of several `data:` lines."""
    url = f"{old.base_url}/audio/transcriptions"
    async with http.post(url, data=form(response_format=wanted)) as answer:
        text = await answer.text()
    expected = "".join(f"data: {line}\n" for line in first.split("\n"))
    assert text.startswith(expected + "\n")
    assert text.count("-->") == 3


async def test_segments_come_as_soon_as_they_are_there(http: aiohttp.ClientSession, old: Api):
    """The first one does not wait for the second; who leaves ends the work."""
    url = f"{old.base_url}/audio/transcriptions"
    async with http.post(url, data=form(model=HELD, response_format="text")) as answer:
        assert await answer.content.readline() == b"data: red green blue\n"
    await old.recogniser.closed.wait()


async def test_errors_before_the_first_segment_have_a_status(http: aiohttp.ClientSession, old: Api):
    url = f"{old.base_url}/audio/transcriptions"
    async with http.post(url, data=form(model=NO_START)) as answer:
        assert answer.status == 503
    *_, last = await events(http, old, model=LATE_CRASH)
    assert json.loads(last)["error"]["code"] == "engine_crashed"


async def test_other_answers_are_as_ever(http: aiohttp.ClientSession, old: Api, start: Start):
    """Without `stream`, and on servers without the setting."""
    url = f"{old.base_url}/audio/transcriptions"
    async with http.post(url, data=form(stream="false", response_format="srt")) as answer:
        assert (await answer.text()).startswith("1\n00:00:00,300")


async def test_without_the_setting_streams_are_new_ones(http: aiohttp.ClientSession, api: Api):
    found = [json.loads(data) for data in await events(http, api)]
    assert [event["type"] for event in found][-1] == "transcript.text.done"
