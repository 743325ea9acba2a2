"""The checks of the conformance suite find what they are there for."""

from dataclasses import replace
from pathlib import Path

import pytest

from whisper_router.domain import Chunk, LanguageDetected, Segment, TokenLogprob, Word
from whisper_router.engine_api import WorkerStarted
from whisper_router.testing.checks import check_order, check_segments, check_words

STARTED, LANGUAGE = WorkerStarted(pid=1), LanguageDetected(code="en", probability=1.0)
FIRST = Segment(start_s=0.0, end_s=1.0, text=" one")
SECOND = Segment(start_s=1.0, end_s=2.0, text=" two")
CHUNK = Chunk(path=Path("x"), start=0, end=32_000)
WORDS = Segment(
    start_s=0.0,
    end_s=1.0,
    text=" one two",
    words=(
        Word(text="one", start_s=0.0, end_s=0.5, probability=0.9),
        Word(text="two", start_s=0.5, end_s=1.0, probability=0.9),
    ),
    logprobs=(TokenLogprob(token=" one two", logprob=-0.1, data=b" one two"),),
)


def test_good_events_pass():
    """The example that the others break."""
    events = [STARTED, LANGUAGE, FIRST, SECOND]
    check_order(events)
    check_segments(events, CHUNK)
    check_words(WORDS)


@pytest.mark.parametrize(
    "events",
    [
        [LANGUAGE, STARTED],
        [STARTED, FIRST, LANGUAGE],
        [STARTED, FIRST],
        [STARTED, LANGUAGE, LANGUAGE],
        [STARTED, LANGUAGE, STARTED],
    ],
)
def test_a_wrong_order_is_found(events):
    """Worker first, language once and before the segments."""
    with pytest.raises(AssertionError):
        check_order(events)


@pytest.mark.parametrize(
    "events",
    [
        [SECOND, FIRST],
        [replace(SECOND, end_s=2.1)],
        [replace(FIRST, start_s=-0.1)],
        [replace(FIRST, start_s=1.0, end_s=0.5)],
        [replace(FIRST, avg_logprob=float("nan"))],
        [replace(FIRST, text=" one ")],
        [LanguageDetected(code="en", probability=float("nan"))],
    ],
)
def test_wrong_segments_are_found(events):
    """Times, numbers and texts."""
    with pytest.raises(AssertionError):
        check_segments(events, CHUNK)


@pytest.mark.parametrize(
    "segment",
    [
        replace(WORDS, words=WORDS.words[::-1]),
        replace(WORDS, words=WORDS.words[:1]),
        replace(WORDS, end_s=0.9),
        replace(WORDS, words=(replace(WORDS.words[0], text=" one"), WORDS.words[1])),
        replace(WORDS, logprobs=(replace(WORDS.logprobs[0], data=b" one"),)),
    ],
)
def test_wrong_words_are_found(segment):
    """Order, completeness, bounds and white space."""
    with pytest.raises(AssertionError):
        check_words(segment)
