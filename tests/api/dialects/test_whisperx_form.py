"""The form of whisperX API server, and its answers."""

import pytest

from whisper_router.api.dialects.whisperx_form import answer, named, parse_form, verbose_body
from whisper_router.api.forms import ResponseFormat, parse_order
from whisper_router.domain import Segment, Task, Transcript, Word
from whisper_router.errors import InvalidParameter

WORDS = (
    Word(text="Hi", start_s=0.1, end_s=0.4, probability=0.9, speaker="B"),
    Word(text="you.", start_s=0.4, end_s=1.0, probability=0.8, speaker="B"),
)
TRANSCRIPT = Transcript(
    task=Task.TRANSCRIBE,
    language="de",
    duration_s=3.0,
    segments=(
        Segment(start_s=0, end_s=1, text=" Hi you.", words=WORDS, speaker="B"),
        Segment(start_s=2, end_s=3, text=" Yes.", speaker="A"),
    ),
)


def test_words_are_aligned_unless_somebody_does_not_want_it():
    """And the model is the default one. Who says nothing gets them where there are any."""
    form = parse_form([("language", "de"), ("response_format", "srt")], Task.TRANSCRIBE)
    request = parse_order(form.fields, task=Task.TRANSCRIBE).request
    assert (request.model, request.alignment, request.language) == ("whisper-1", "auto", "de")
    form = parse_form([("align", "true")], Task.TRANSCRIBE)
    assert parse_order(form.fields, task=Task.TRANSCRIBE).request.alignment == "dtw"
    form = parse_form([("align", "false")], Task.TRANSCRIBE)
    assert parse_order(form.fields, task=Task.TRANSCRIBE).request.alignment == "none"


def test_its_format_is_none_of_ours():
    """The order is for the recognition alone: the answer is written by the dialect."""
    sent = [("response_format", "vtt_json"), ("stream", "true"), ("highlight_words", "true")]
    form = parse_form(sent, Task.TRANSCRIBE)
    assert form.response_format is ResponseFormat.VTT_JSON
    assert form.highlight_words
    assert not parse_order(form.fields, task=Task.TRANSCRIBE).response.stream


def test_translations_are_not_aligned():
    form = parse_form([("response_format", "srt")], Task.TRANSLATE)
    assert parse_order(form.fields, task=Task.TRANSLATE).request.alignment == ""


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ([("response_format", "poem")], "response_format"),
        ([("response_format", "rttm")], "response_format"),
        ([("response_format", "aud"), ("align", "0")], "response_format"),
        ([("diarize", "true"), ("align", "false")], "diarize"),
        ([("chunk_size", "31")], "chunk_size"),
        ([("stream", "x")], "stream"),
        ([("async", "x")], "async"),
        ([("speaker_embeddings", "true")], "speaker_embeddings"),
        ([("timestamp_granularities[]", "x")], "timestamp_granularities[]"),
    ],
)
def test_what_makes_no_sense_is_named(sent, param):
    with pytest.raises(InvalidParameter) as caught:
        parse_form(sent, Task.TRANSCRIBE)
    assert caught.value.param == param


def test_speakers_have_its_names_in_their_order():
    speakers = [segment.speaker for segment in named(TRANSCRIPT).segments]
    assert speakers == ["SPEAKER_00", "SPEAKER_01"]
    assert {word.speaker for word in named(TRANSCRIPT).segments[0].words} == {"SPEAKER_00"}


def test_aligned_segments_are_nested():
    body = verbose_body(TRANSCRIPT, is_aligned=True)
    assert body["language"] == "de"
    assert body["text"] == "Hi you.\nYes."
    assert body["segments"]["word_segments"][0] == {
        "word": "Hi",
        "start": 0.1,
        "end": 0.4,
        "score": 0.9,
        "speaker": "B",
    }
    plain = verbose_body(TRANSCRIPT, is_aligned=False)["segments"]
    assert [segment["text"] for segment in plain] == [" Hi you.", " Yes."]
    assert "words" not in plain[0]


@pytest.mark.parametrize(
    ("wanted", "content_type", "part"),
    [
        (ResponseFormat.TEXT, "text/plain", "Hi you. Yes."),
        (ResponseFormat.SRT, "text/plain", "[SPEAKER_00]: Hi you."),
        (ResponseFormat.VTT, "text/vtt", "\n[SPEAKER_01]: Yes."),
        (ResponseFormat.AUD, "text/plain", "2.000\t3.000\t[[SPEAKER_01]]Yes."),
        (ResponseFormat.RTTM, "text/plain", "SPEAKER audio 1 0.100 "),
    ],
)
def test_texts(wanted, content_type, part):
    body, found = answer(TRANSCRIPT, {}, wanted, highlight=False)
    assert part in body
    assert found.startswith(content_type)
