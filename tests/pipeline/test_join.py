"""Two chunks that share some audio become one text."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.domain import Hole, Segment, TokenLogprob, Word
from whisper_router.pipeline.join import Joint, heard_before
from whisper_router.pipeline.plan import PlannedChunk

WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")
FIRST = PlannedChunk(start=0, end=30 * 16_000, is_cut=True)
SECOND = PlannedChunk(start=27 * 16_000, end=50 * 16_000, overlap=3 * 16_000)


def said(words, *, begin_s: float, step_s: float = 0.5) -> Segment:
    """A segment with a word every half second; None is a pause of that length."""
    timed = [
        Word(
            text=word,
            start_s=begin_s + at * step_s,
            end_s=begin_s + at * step_s + 0.4,
            probability=1,
        )
        for at, word in enumerate(words)
        if word is not None
    ]
    return Segment(
        start_s=timed[0].start_s,
        end_s=timed[-1].end_s,
        text="".join(f" {word.text}" for word in timed),
        words=timed,
        tokens=(1, 2, 3),
        logprobs=[
            TokenLogprob(token=f" {word.text}", logprob=-0.1, data=f" {word.text}".encode())
            for word in timed
        ],
    )


def join(*events) -> list[Segment | Hole]:
    """Give all events to a joint."""
    joint, given = Joint(), []
    for chunk, event in events:
        given += joint.take(chunk, event)
    return given + joint.end()


def text(events) -> str:
    return "".join(event.text for event in events if isinstance(event, Segment)).strip()


def test_a_word_that_both_have_heard_is_there_once():
    """The joint is at a word near the middle; times go on."""
    heard = join(
        (FIRST, said(["zero", "alpha", "bravo", "charlie", "delta", "garbled"], begin_s=27.0)),
        (SECOND, said(["noise", "bravo", "charlie", "delta", "echo", "foxtrot"], begin_s=27.55)),
    )
    assert text(heard) == "zero alpha bravo charlie delta echo foxtrot"
    words = [word for segment in heard for word in segment.words]
    assert [word.text for word in words] == text(heard).split()
    assert all(one.end_s <= other.start_s for one, other in pairwise(words))
    assert "".join(token.token for segment in heard for token in segment.logprobs).strip() == text(
        heard
    )


def test_a_repeated_word_is_joined_where_the_times_agree():
    """Twelve times the same word stay twelve."""
    heard = join(
        (FIRST, said(["seven"] * 8, begin_s=26.0)),
        (SECOND, said(["seven"] * 10, begin_s=27.03)),
    )
    assert text(heard) == " ".join(["seven"] * 12)


def test_a_word_placed_in_the_pause_before_it_is_still_the_same():
    """A chunk's first words are often stamped too early; the first chunk's last ones are cut."""
    heard = join(
        (FIRST, said(["one", None, None, None, "quebec", "echo"], begin_s=26.6)),
        (SECOND, said(["quebec", None, None, "romeo", None, "papa"], begin_s=27.0)),
    )
    assert text(heard) == "one quebec romeo papa"


def test_where_no_word_agrees_each_counts_up_to_the_middle():
    """Nothing is there twice, nothing is missing in between."""
    heard = join(
        (FIRST, said(["a", "b", "c", "d", "e", "f"], begin_s=27.0)),
        (SECOND, said(["u", "v", "w", "x", "y", "z"], begin_s=27.0)),
    )
    assert text(heard) == "a b c x y z"


def test_segments_without_words_are_joined_whole():
    """An engine need not time words."""
    plain = [
        replace(said([word], begin_s=begin_s), words=())
        for word, begin_s in (("one", 26.0), ("two", 27.5), ("two", 27.6), ("three", 29.0))
    ]
    heard = join((FIRST, plain[0]), (FIRST, plain[1]), (SECOND, plain[2]), (SECOND, plain[3]))
    assert text(heard) == "one two three"


def test_only_what_reaches_into_the_overlap_waits():
    """Text comes as early as it can."""
    joint = Joint()
    early, late = said(["early"], begin_s=1.0), said(["late"], begin_s=28.0)
    assert joint.take(FIRST, early) == [early]
    assert joint.take(FIRST, late) == []
    beyond = said(["late", None, None, None, None, "on"], begin_s=28.02)
    assert text(joint.take(SECOND, beyond)) == "late on"
    after = said(["after"], begin_s=35.0)
    assert joint.take(SECOND, after) == [after]
    assert joint.end() == []


@pytest.mark.parametrize("silent", ["first", "second"])
def test_when_one_has_heard_nothing_there_the_other_counts(silent):
    """A chunk may be silent, or its text may end early."""
    segment = said(["a", "b", "c"], begin_s=27.5)
    events = [(FIRST, said(["x"], begin_s=3.0))] if silent == "first" else [(FIRST, segment)]
    events.append((SECOND, segment if silent == "first" else said(["y"], begin_s=40.0)))
    assert set(text(join(*events)).split()) >= {"a", "b", "c"}


def edges(events) -> list[float]:
    segments = [event for event in events if isinstance(event, Segment)]
    return [edge for segment in segments for edge in (segment.start_s, segment.end_s)]


def test_a_hole_is_passed_on_in_its_place_and_the_next_chunk_counts_whole():
    """There is nothing to join with; a hole ends where the next chunk begins."""
    hole = Hole(start_s=20.0, end_s=27.0, reason="crashed")
    marker = Segment(start_s=20.0, end_s=27.0, text=" [not transcribed]")
    second = said(["a", "b", "c"], begin_s=27.1)
    first = said(["x"], begin_s=3.0)
    heard = join((FIRST, first), (FIRST, hole), (FIRST, marker), (SECOND, second))
    assert heard == [first, hole, marker, second]


@pytest.mark.parametrize("heard_s", [None, 28.5])
def test_a_hole_in_the_second_chunk_begins_after_what_was_heard(heard_s):
    """Whether it was lost whole or after its first words, nothing is there twice."""
    start_s = 27.0 if heard_s is None else heard_s
    hole = Hole(start_s=start_s, end_s=50.0, reason="crashed")
    marker = Segment(start_s=start_s, end_s=50.0, text=" [not transcribed]")
    events = [(FIRST, said(["a", "b", "c", "d"], begin_s=27.3))]
    if heard_s is not None:
        events.append((SECOND, said(["b", "c"], begin_s=27.82)))
    given = join(*events, (SECOND, hole), (SECOND, marker))
    assert text(given).split()[:3] == ["a", "b", "c"]
    assert text(given).split().count("b") == 1
    assert edges(given) == sorted(edges(given))


def test_words_outside_of_the_overlap_are_not_joined_at():
    """An article is said more than once; what lies between two of them is not heard twice."""
    first = said(["the", "quick", "brown", "fox", "jumps", "over"], begin_s=25.6)
    second = said(["jumps", "over", "the", "lazy", "dog"], begin_s=27.6)
    assert text(join((FIRST, first), (SECOND, second))) == (
        "the quick brown fox jumps over the lazy dog"
    )


def test_where_both_have_heard_something_else_nothing_is_lost():
    """The first chunk's text ends before the second one's begins."""
    first = said(["alpha", "bravo"], begin_s=26.5)
    second = said(["charlie", "delta", "echo"], begin_s=27.8, step_s=0.8)
    assert text(join((FIRST, first), (SECOND, second))) == "alpha bravo charlie delta echo"


def test_times_never_go_back_at_a_joint():
    """Also where one of the chunks has heard nothing in the overlap."""
    long = replace(said(["a"], begin_s=26.0), end_s=29.8)
    given = join((FIRST, long), (SECOND, said(["x", "y"], begin_s=27.6)))
    assert edges(given) == sorted(edges(given))


def test_marks_without_letters_are_no_words_to_join_at():
    """A dash is like any other dash."""
    first = said(["one", "two", "–"], begin_s=27.2)
    second = said(["–", "two", "three"], begin_s=27.3)
    assert text(join((FIRST, first), (SECOND, second))).split()[-2:] == ["two", "three"]


def test_long_segments_without_words_are_cut_by_their_pace():
    """Nothing is repeated where an engine times no words."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    first = replace(said(words, begin_s=25.0), words=(), end_s=30.0)
    second = replace(said([*words[4:], "eleven"], begin_s=27.0), words=(), end_s=30.5)
    given = text(join((FIRST, first), (SECOND, second))).split()
    assert given == [*words, "eleven"]


def test_what_was_heard_before_a_moment_is_cut_at_a_word():
    """It is the context of the next chunk, which hears the rest itself."""
    segment = said(["a", "b", "c"], begin_s=26.0)
    assert text(heard_before([segment], 27.0)) == "a b"


@given(
    words=st.lists(st.sampled_from(WORDS), min_size=120, max_size=120),
    late_s=st.floats(-0.2, 0.2),
    sizes=st.lists(st.integers(1, 12), min_size=40, max_size=40),
)
def test_speech_heard_well_by_both_is_joined_without_a_fault(words, late_s, sizes):
    """Whatever the words, the segments and a small difference in time."""
    cut = PlannedChunk(start=27 * 16_000, end=57 * 16_000, overlap=3 * 16_000, is_cut=True)
    last = PlannedChunk(start=54 * 16_000, end=60 * 16_000, overlap=3 * 16_000)
    events = []
    for chunk, (begin, end), shift_s in (
        (FIRST, (0, 60), 0.0),
        (cut, (54, 114), late_s),
        (last, (108, 120), 0.0),
    ):
        at, pieces = begin, iter(sizes)
        while at < end:
            until = min(end, at + next(pieces, 12))
            events.append((chunk, said(words[at:until], begin_s=at * 0.5 + shift_s)))
            at = until
    assert text(join(*events)).split() == words
