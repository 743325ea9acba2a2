"""A `verbose_json` of somebody else as segments."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router_engines.upstream.answer import Answer

WHOLE = {
    "language": "german",
    "text": " Eins zwei. Drei.",
    "segments": [
        {"start": 0.0, "end": 1.0, "text": " Eins zwei.", "avg_logprob": -0.2, "tokens": [1, 2]},
        {
            "start": 1.0,
            "end": 2.0,
            "text": " Drei.",
            "avg_logprob": None,
            "no_speech_prob": math.nan,
        },
    ],
    "words": [
        {"word": "Eins", "start": 0.0, "end": 0.4},
        {"word": " zwei.", "start": 0.4, "end": 1.1},
        {"word": "Drei.", "start": 1.2, "end": 9.0, "probability": 0.5},
    ],
}


def answer(body: dict, *, duration_s: float = 2.0, language: str | None = None) -> Answer:
    return Answer(body=body, duration_s=duration_s, language=language)


def test_words_find_their_segments_and_stay_inside():
    """OpenAI lists them apart."""
    first, second = answer(WHOLE).segments()
    assert [word.text for word in first.words] == ["Eins", "zwei."]
    assert [word.text for word in second.words] == ["Drei."]
    assert first.words[1].end_s == first.end_s == 1.0
    assert (second.words[0].end_s, second.words[0].probability) == (2.0, 0.5)
    assert (second.avg_logprob, second.temperature) == (0.0, 0.0)
    assert first.tokens == (1, 2)


@pytest.mark.parametrize(
    ("said", "asked", "code"),
    [
        ("german", None, "de"),
        ("de", None, "de"),
        ("German", None, "de"),
        (None, None, "en"),
        ("klingon", None, "en"),
        ("english", "fr", "fr"),
    ],
)
def test_the_language_is_known_by_name_or_code(said, asked, code):
    """Servers differ."""
    assert answer({"language": said, "text": ""}, language=asked).detected().code == code


def test_a_server_that_knows_no_segments_gives_one():
    """Plain `json` is enough to be of use."""
    [segment] = answer({"text": "hello there"}).segments()
    assert (segment.start_s, segment.end_s, segment.text) == (0.0, 2.0, "hello there")
    assert list(answer({"text": "  "}).segments()) == []


@pytest.mark.parametrize(
    "body", [{}, {"segments": [{}]}, {"segments": [7]}, {"text": "", "words": [1]}]
)
def test_what_is_no_answer_is_an_error(body):
    """Of a kind that the caller expects."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        list(answer(body).segments())


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(
    spans=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=5),
    words=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8),
)
def test_whatever_the_times_are_they_end_up_in_order(spans, words):
    """Nothing outside of the chunk, nothing backwards, nothing that is no number, no word lost."""
    body = {
        "text": "x",
        "segments": [{"start": a, "end": b, "text": " x"} for a, b in spans],
        "words": [{"word": "x", "start": a, "end": b} for a, b in words],
    }
    found = list(answer(body).segments())
    times = [time for segment in found for time in (segment.start_s, segment.end_s)]
    assert times == sorted(times)
    assert all(0.0 <= time <= 2.0 for time in times)
    inner = [word for segment in found for word in segment.words]
    assert len(inner) == len(words)
    assert all(0.0 <= word.start_s <= word.end_s <= 2.0 for word in inner)
