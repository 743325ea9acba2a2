"""Server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.api_app import GOOD, HELD, Api, Setup, Start, sample_path
from whisper_router.api.sse import HEARTBEAT, StreamedText, with_pulse
from whisper_router.domain import AudioFound, AudioReady, Segment, Task, Transcript, TranscriptEvent
from whisper_router.errors import EngineCrashed

READY = AudioReady(duration_s=2.0, speech_s=None)


def said(text: str) -> Segment:
    return Segment(start_s=0, end_s=1, text=text, tokens=(1, 2))


def payload(frame: bytes) -> dict[str, object]:
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    value: dict[str, object] = json.loads(frame[6:])
    return value


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_deltas_joined_are_the_text_of_the_transcript(texts: list[str]):
    """Append-only, none empty, no space at either end; each frame is one line of data."""
    stream = StreamedText(logprobs=False)
    frames = [frame for text in texts if (frame := stream.frame(said(text)))]
    assert all(frame.count(b"\n") == 2 for frame in frames)
    joined = "".join(str(payload(frame)["delta"]) for frame in frames)
    segments = [said(text) for text in texts]
    whole = Transcript(task=Task.TRANSCRIBE, language=None, duration_s=1, segments=segments)
    assert joined == stream.done()["text"] == whole.text
    assert all(payload(frame)["delta"] for frame in frames)


def test_usage_counts_the_audio_and_the_tokens():
    """Ten tokens for each second that was heard, the engine's tokens for what was said."""
    stream = StreamedText(logprobs=False)
    assert stream.frame(READY) == b""
    stream.frame(said(" a"))
    usage = stream.done()["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (20, 2)


def test_there_is_no_heartbeat_before_the_upload_is_known_to_be_audio():
    """Until then a refusal may still come, and it needs a status."""
    stream = StreamedText(logprobs=False)
    assert stream.frame(None) == b""
    assert stream.frame(AudioFound()) == b""
    assert stream.frame(None) == HEARTBEAT


class Source:
    """Events on demand."""

    def __init__(self) -> None:
        self.closed = False
        self.go_on = asyncio.Event()

    async def events(self) -> AsyncGenerator[TranscriptEvent, None]:
        try:
            yield READY
            await self.go_on.wait()
            yield said(" a")
            raise EngineCrashed("gone")
        finally:
            self.closed = True


async def test_a_pulse_fills_the_pauses_and_loses_nothing():
    """None while nothing comes, then the event, then the error as it was raised."""
    source, seen = Source(), []
    async with asyncio.timeout(15), aclosing(with_pulse(source.events(), interval_s=0.01)) as pulse:
        with pytest.raises(EngineCrashed, match="gone"):
            async for item in pulse:
                seen.append(item)
                if seen.count(None) == 3:
                    source.go_on.set()
    assert [item for item in seen if item is not None] == [READY, said(" a")]
    assert source.closed


async def test_leaving_the_pulse_closes_the_events():
    """Also while they are being waited for."""
    source = Source()
    async with asyncio.timeout(15), aclosing(with_pulse(source.events(), interval_s=60)) as pulse:
        assert await anext(pulse) == READY
    assert source.closed


async def post_stream(http: aiohttp.ClientSession, api: Api, model: str) -> aiohttp.ClientResponse:
    form = aiohttp.FormData({"model": model, "stream": "true"})
    form.add_field("file", sample_path("en_three_segments.wav").read_bytes(), filename="a.wav")
    return await http.post(f"{api.base_url}/audio/transcriptions", data=form)


async def test_the_raw_stream_is_plain_data_lines(api: Api, http: aiohttp.ClientSession):
    """Contract case 87: no event names, no [DONE]; proxies are told not to hold it back."""
    async with await post_stream(http, api, GOOD) as answer:
        lines = (await answer.text()).splitlines()
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Encoding" not in answer.headers
    assert answer.headers["x-request-id"]
    assert all(line.startswith("data: {") for line in lines[::2])
    assert all(line == "" for line in lines[1::2])
    assert json.loads(lines[-2][6:])["type"] == "transcript.text.done"


async def test_the_last_event_has_the_whole_answer_on_request(
    api: Api, http: aiohttp.ClientSession
):
    """The same object as without a stream, so that nobody needs to have it run again."""
    told = []
    sample, kinds = sample_path("en_three_segments.wav").read_bytes(), ("segment", "word")
    stamps = [("timestamp_granularities[]", kind) for kind in kinds]
    for fields in (
        [("stream", "true"), ("include[]", "verbose_json")],
        [("response_format", "verbose_json")],
    ):
        form = aiohttp.FormData([("model", GOOD), *stamps, *fields])
        form.add_field("file", sample, filename="a.wav")
        async with http.post(f"{api.base_url}/audio/transcriptions", data=form) as answer:
            told.append(await answer.text())
    last = json.loads(told[0].splitlines()[-2][6:])
    assert last["verbose_json"] == json.loads(told[1])
    assert last["verbose_json"]["words"]


async def test_a_silent_stream_beats(start: Start, http: aiohttp.ClientSession):
    """Comments keep proxies from giving up, and clients do not see them."""
    lines = []
    async with (
        asyncio.timeout(15),
        start(Setup(heartbeat_s=0.02)) as api,
        await post_stream(http, api, HELD) as answer,
    ):
        async for line in answer.content:
            lines.append(line)
            if lines.count(b": keep-alive\n") == 2:
                api.recogniser.release.set()
    assert lines[-2].startswith(b'data: {"type":"transcript.text.done"')


async def test_text_is_sent_as_soon_as_it_is_there(api: Api, http: aiohttp.ClientSession):
    """The first delta arrives while the recogniser has not gone on."""
    async with asyncio.timeout(15), await post_stream(http, api, HELD) as answer:
        first = await answer.content.readline()
        assert json.loads(first[6:])["delta"] == "red green blue"
        assert not api.recogniser.closed.is_set()
        api.recogniser.release.set()
        assert b"transcript.text.done" in await answer.content.read()


def test_a_stream_of_speakers_has_an_event_for_each_segment():
    """The delta names the segment, whose speaker comes after it."""
    stream = StreamedText(logprobs=False, speakers=True)
    frames = stream.frame(Segment(start_s=1, end_s=2, text=" Hi.", speaker="A"))
    delta, segment = (payload(frame + b"\n\n") for frame in frames.strip().split(b"\n\n"))
    assert delta == {"type": "transcript.text.delta", "delta": "Hi.", "segment_id": "seg_001"}
    assert segment == {
        "type": "transcript.text.segment",
        "id": "seg_001",
        "start": 1,
        "end": 2,
        "text": "Hi.",
        "speaker": "A",
    }
