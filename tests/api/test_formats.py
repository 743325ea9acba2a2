"""Transcripts in every format."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import Transcription, TranscriptionVerbose

from support.texts import cue_texts, squeezed, streamed_texts
from whisper_router.api.formats import FORMATS, duration_usage, respond, token_usage
from whisper_router.api.forms import Granularity, ResponseFormat, ResponseOptions
from whisper_router.api.sse import StreamedText
from whisper_router.api.subtitles import ARROW
from whisper_router.api.wire import encode_json
from whisper_router.domain import Segment, Task, TokenLogprob, Transcript, Word

SEGMENT_FIELDS = {
    "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
    "compression_ratio", "no_speech_prob",
}  # fmt: skip
LIGHT = Segment(
    start_s=0.0,
    end_s=2.6,
    text=" Turn the light off.",
    tokens=(50364, 7956, 264, 1442, 766, 13, 50494),
    words=(
        Word(text="Turn", start_s=0.0, end_s=0.31, probability=0.9),
        Word(text="off.", start_s=2.0, end_s=9.0, probability=0.9),
        Word(text="–", start_s=2.0, end_s=2.1, probability=0.9),
        Word(text="“can't”", start_s=1.0, end_s=1.5, probability=0.9),
    ),
    logprobs=(TokenLogprob(token=" Turn", logprob=-0.0312345678, data=b" Turn"),),
    seek_s=0.0,
    avg_logprob=-0.21,
)
LATER = Segment(start_s=31.2, end_s=32.0, text=" Später.", seek_s=30.0)


def transcript(*segments: Segment, task: Task = Task.TRANSCRIBE, duration_s: float = 2.85, language: str | None = "en") -> Transcript:  # fmt: skip  # noqa: E501
    return Transcript(task=task, language=language, duration_s=duration_s, segments=segments)


def rendered(value: Transcript, wanted: ResponseFormat, **options: Any) -> str:
    return (
        FORMATS[wanted]
        .render(value, ResponseOptions(response_format=wanted, **options))
        .decode("utf-8")
    )


def parsed(value: Transcript, wanted: ResponseFormat = ResponseFormat.JSON, **options: Any) -> Any:
    return json.loads(rendered(value, wanted, **options))


def verbose(value: Transcript, **options: Any) -> Any:
    return parsed(value, ResponseFormat.VERBOSE_JSON, **options)


def test_json_has_the_text_and_the_begun_seconds():
    """Contract cases 20 and 22."""
    assert parsed(transcript(LIGHT)) == {
        "text": "Turn the light off.",
        "usage": {"type": "duration", "seconds": 3},
    }


def test_a_translation_in_json_has_its_text_and_nothing_else():
    """Contract case 100."""
    assert parsed(transcript(LIGHT, task=Task.TRANSLATE)) == {"text": "Turn the light off."}


def test_log_probabilities_come_with_raw_bytes():
    """Contract case 40."""
    assert parsed(transcript(LIGHT), logprobs=True)["logprobs"] == [
        {"token": " Turn", "logprob": -0.031235, "bytes": [32, 84, 117, 114, 110]}
    ]


def test_text_ends_with_a_newline_and_keeps_its_letters():
    """Contract case 23."""
    assert rendered(transcript(LIGHT, LATER), ResponseFormat.TEXT) == (
        "Turn the light off. Später.\n"
    )


def test_verbose_json_has_ten_fields_per_segment_and_no_words_by_default():
    """Contract cases 26, 27, 30 and 31."""
    body = verbose(transcript(LIGHT, Segment(start_s=3, end_s=4, text=""), LATER))
    assert body["task"] == "transcribe"
    assert body["language"] == "english"
    assert body["duration"] == 2.85
    assert "words" not in body
    assert [segment["id"] for segment in body["segments"]] == [0, 1]
    assert all(set(segment) == SEGMENT_FIELDS for segment in body["segments"])
    assert body["segments"][1]["seek"] == 3000
    assert "".join(segment["text"] for segment in body["segments"]).strip() == body["text"]


def test_words_are_bare_in_order_and_inside_the_audio():
    """Contract case 28: no segments key, no punctuation."""
    body = verbose(transcript(LIGHT), granularities=frozenset({Granularity.WORD}))
    assert "segments" not in body
    assert body["words"] == [
        {"word": "Turn", "start": 0.0, "end": 0.31},
        {"word": "off", "start": 2.0, "end": 2.85},
        {"word": "can't", "start": 2.85, "end": 2.85},
    ]


def test_both_granularities_give_both_arrays():
    """Contract case 29."""
    body = verbose(transcript(LIGHT), granularities=frozenset(Granularity))
    assert body["segments"]
    assert body["words"]


def test_a_translation_is_english_whatever_was_said():
    """Contract case 102; no usage, no words."""
    body = verbose(transcript(LATER, task=Task.TRANSLATE, language="de"))
    assert (body["task"], body["language"]) == ("translate", "english")
    assert not {"usage", "words"} & set(body)


@pytest.mark.parametrize(
    ("code", "name"), [("de", "german"), ("yue", "cantonese"), (None, "unknown"), ("xx", "xx")]
)
def test_the_language_is_a_lower_case_name(code: str | None, name: str):
    """Never a code that has a name, never empty."""
    assert verbose(transcript(language=code))["language"] == name


def test_silence_is_an_empty_transcript_in_every_format():
    """Contract case 52."""
    silent = transcript(language=None, duration_s=1.0)
    assert parsed(silent)["text"] == ""
    assert verbose(silent)["segments"] == []
    assert rendered(silent, ResponseFormat.TEXT) == "\n"
    assert rendered(silent, ResponseFormat.SRT) == ""
    assert rendered(silent, ResponseFormat.VTT) == "WEBVTT\n\n"


@pytest.mark.parametrize(
    ("wanted", "content_type"),
    [
        ("json", "application/json"),
        ("verbose_json", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("srt", "text/plain; charset=utf-8"),
        ("vtt", "text/plain; charset=utf-8"),
    ],
)
def test_content_types_are_exact(wanted: str, content_type: str):
    """JavaScript clients parse by it."""
    options = ResponseOptions(response_format=ResponseFormat(wanted))
    assert respond(transcript(LIGHT), options).headers["Content-Type"] == content_type


def test_usage_counts_begun_seconds_and_ten_tokens_a_second():
    """Contract case 22: seconds above zero, total = input + output."""
    assert duration_usage(8.47)["seconds"] == 9
    assert duration_usage(0.0)["seconds"] == 1
    assert token_usage(2.05, output_tokens=6) == {
        "type": "tokens",
        "input_tokens": 21,
        "input_token_details": {"text_tokens": 0, "audio_tokens": 21},
        "output_tokens": 6,
        "total_tokens": 27,
    }


numbers = st.floats()
texts = st.text(st.characters())
words = st.builds(Word, text=texts, start_s=numbers, end_s=numbers, probability=numbers)
logprobs = st.builds(TokenLogprob, token=texts, logprob=numbers, data=st.binary(max_size=4))
segments = st.builds(
    Segment, start_s=numbers, end_s=numbers, text=texts, tokens=st.lists(st.integers(0, 60_000)),
    words=st.lists(words, max_size=3), logprobs=st.lists(logprobs, max_size=2), seek_s=numbers,
    avg_logprob=numbers, compression_ratio=numbers, no_speech_prob=numbers, temperature=numbers,
)  # fmt: skip
transcripts = st.builds(
    Transcript,
    task=st.sampled_from(Task),
    language=st.none() | st.sampled_from(["en", "haw", "xx"]),
    duration_s=numbers,
    segments=st.lists(segments, max_size=3),
)
all_granularities = frozenset(Granularity)


@given(transcripts)
def test_no_transcript_breaks_verbose_json(value: Transcript):
    """Whatever an engine sends: strict JSON, types that the SDK validates, words in order."""
    body = verbose(value, granularities=all_granularities, logprobs=True)
    TranscriptionVerbose.model_validate(body, strict=True)
    json.dumps(body, allow_nan=False)
    ends = [time for word in body["words"] for time in (word["start"], word["end"])]
    assert ends == sorted(ends)
    assert all(0 <= end <= max(body["duration"], 0) for end in ends)
    assert all(math.isfinite(segment["start"]) for segment in body["segments"])


@given(transcripts, st.sampled_from(ResponseFormat))
def test_every_transcript_can_be_sent_in_every_format(value: Transcript, wanted: ResponseFormat):
    """Bytes that decode; in JSON the text, in a text file the text and a newline."""
    text = rendered(value, wanted, logprobs=True)
    expected = value.text.encode("utf-8", "replace").decode()
    if wanted in {ResponseFormat.JSON, ResponseFormat.VERBOSE_JSON}:
        assert json.loads(text)["text"] == expected
    if wanted is ResponseFormat.JSON:
        Transcription.model_validate(json.loads(text), strict=True)
    if wanted is ResponseFormat.TEXT:
        assert text == expected + "\n"


def streamed(value: Transcript) -> str:
    """Return the body of a stream with this transcript's segments."""
    stream = StreamedText(logprobs=False)
    frames = [stream.frame(segment) for segment in value.segments]
    return b"".join([*frames, b"data: ", encode_json(stream.done())]).decode("utf-8")


@given(transcripts)
def test_the_text_is_the_same_in_every_format(value: Transcript):
    """In subtitles each segment is a line, and a line holds no arrow; white space is squeezed."""
    text = parsed(value)["text"]
    assert text == value.text.encode("utf-8", errors="replace").decode("utf-8")
    assert verbose(value)["text"] == text
    assert rendered(value, ResponseFormat.TEXT) == f"{text}\n"
    assert streamed_texts(streamed(value)) == (text, text)
    segments = [squeezed(body["text"]) for body in verbose(value)["segments"]]
    assert squeezed(text).replace(" ", "") == "".join(segments).replace(" ", "")
    for wanted in (ResponseFormat.SRT, ResponseFormat.VTT):
        lines = cue_texts(rendered(value, wanted))
        if not any(ARROW in line for line in segments):
            assert lines == segments


@given(st.lists(st.text("ab é\t\n.", min_size=1).filter(str.strip), max_size=8))
def test_lines_of_subtitles_joined_are_the_text_where_words_are_spaced(texts: list[str]):
    """Segments of such languages begin with a space."""
    segments = [Segment(start_s=n, end_s=n + 1, text=f" {t}") for n, t in enumerate(texts)]
    value = transcript(*segments)
    for wanted in (ResponseFormat.SRT, ResponseFormat.VTT):
        assert " ".join(cue_texts(rendered(value, wanted))) == squeezed(value.text)
