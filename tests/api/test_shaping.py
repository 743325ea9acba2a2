"""Words as subtitles that people can read."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api import subtitles
from whisper_router.api.formats import FORMATS
from whisper_router.api.forms import ResponseFormat, ResponseOptions
from whisper_router.api.shaping import Shape, shaped
from whisper_router.domain import Segment, Task, Transcript, Word


def said(text: str, *, start_s: float = 0.0, pace_s: float = 1.0, stamped: bool = True) -> Segment:
    """Return a segment whose words last half of `pace_s` each."""
    words = text.split()
    return Segment(
        start_s=start_s,
        end_s=start_s + pace_s * len(words),
        text=f" {text}",
        words=[
            Word(
                text=word,
                start_s=start_s + number * pace_s,
                end_s=start_s + (number + 0.5) * pace_s,
                probability=0.9,
            )
            for number, word in enumerate(words)
            if stamped
        ],
    )


def cues(*segments: Segment, **shape) -> list[tuple[int, int, str]]:
    return [(cue.start_ms, cue.end_ms, cue.text) for cue in shaped(segments, Shape(**shape))]


def test_lines_are_no_wider_than_they_may_be():
    """A segment stays one cue, unless lines are limited, too."""
    text = said("red green blue open left")
    assert cues(text, max_line_width=10) == [(0, 4500, "red green\nblue open\nleft")]
    assert cues(text, max_line_width=10, max_line_count=2) == [
        (0, 3500, "red green\nblue open"),
        (4000, 4500, "left"),
    ]


def test_who_speaks_takes_room_in_the_first_line():
    """Of each cue, in the formats that write it there; a voice span of WebVTT takes none."""
    text = replace(said("red green blue open left side"), speaker="A")
    shape = Shape(max_line_width=10, max_line_count=2)
    told = ["red", "green blue", "open", "left side"]
    found = [cue.text for cue in shaped([text], shape, subtitles.lead)]
    assert found == ["\n".join(told[:2]), "\n".join(told[2:])]
    transcript = Transcript(task=Task.TRANSCRIBE, language="en", duration_s=6, segments=[text])

    def written(wanted: ResponseFormat) -> list[str]:
        options = ResponseOptions(response_format=wanted, shape=shape)
        return FORMATS[wanted].render(transcript, options).decode().splitlines()

    assert [line for line in written(ResponseFormat.SRT) if "e" in line] == [
        "[A]: red",
        "green blue",
        "[A]: open",
        "left side",
    ]
    assert written(ResponseFormat.TSV)[1].endswith("[A]: red green blue")
    assert written(ResponseFormat.LRC)[0].endswith("[A]: red green blue")
    assert written(ResponseFormat.VTT)[3:5] == ["<v A>red green", "blue open"]


def test_a_cue_may_have_so_many_words():
    """In one line."""
    assert cues(said("red green blue open left"), max_words_per_line=2) == [
        (0, 1500, "red green"),
        (2000, 3500, "blue open"),
        (4000, 4500, "left"),
    ]


def test_a_word_that_is_too_wide_has_a_line_of_its_own():
    """It is not cut."""
    assert cues(said("a incomprehensibilities b"), max_line_width=5) == [
        (0, 2500, "a\nincomprehensibilities\nb")
    ]


def test_the_spoken_word_is_marked():
    """And none in the pauses between."""
    assert cues(said("red green"), highlight_words=True) == [
        (0, 500, "<u>red</u> green"),
        (500, 1000, "red green"),
        (1000, 1500, "red <u>green</u>"),
    ]


def test_a_segment_without_words_is_split_by_its_letters():
    """An engine that stamps no words has times all the same."""
    assert cues(said("aa bb", stamped=False), max_words_per_line=1) == [
        (0, 1000, "aa"),
        (1000, 2000, "bb"),
    ]


def test_a_text_without_spaces_stays_without():
    """As the engine spells it."""
    segment = Segment(
        start_s=0,
        end_s=2,
        text="\u4f60\u597d",
        words=[
            Word(text="\u4f60", start_s=0, end_s=1, probability=1),
            Word(text="\u597d", start_s=1, end_s=2, probability=1),
        ],
    )
    assert cues(segment, max_line_width=5) == [(0, 2000, "\u4f60\u597d")]


@pytest.mark.parametrize("shape", [{"max_line_width": 9}, {"highlight_words": True}])
def test_silence_has_no_cues(shape):
    """Neither a segment without words in it."""
    assert cues(Segment(start_s=0, end_s=1, text="  "), **shape) == []


@given(
    texts=st.lists(st.text("ab \n-<>.", min_size=1, max_size=30), max_size=4),
    width=st.none() | st.integers(1, 12),
    count=st.none() | st.integers(1, 3),
    words=st.none() | st.integers(1, 3),
    highlight=st.booleans(),
)
def test_cues_are_in_order_and_hold_all_words(texts, width, count, words, highlight):
    """Whatever is asked for; each lasts at least a millisecond."""
    segments = [said(text, start_s=5.0 * n, pace_s=0.3) for n, text in enumerate(texts)]
    found = cues(
        *segments,
        max_line_width=width,
        max_line_count=count,
        max_words_per_line=words,
        highlight_words=highlight,
    )
    starts = [start for start, _, _ in found]
    assert starts == sorted(starts)
    assert all(start < end and text.strip() for start, end, text in found)
    if not highlight:
        shown = " ".join(text for _, _, text in found).split()
        said_words = " ".join(texts).split()
        assert len(shown) == len(said_words)
