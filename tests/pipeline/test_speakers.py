"""Turns laid over words."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.domain import Segment, Word
from whisper_router.pipeline.speakers import assign
from whisper_router.stage_api import Turn


def turn(start_s: float, end_s: float, speaker: int) -> Turn:
    return Turn(start_s=start_s, end_s=end_s, speaker=speaker)


def said(text: str, start_s: float, *, tokens: tuple[int, ...] = (7,)) -> Segment:
    """Return words of a second each."""
    words = [
        Word(text=name, start_s=start_s + at, end_s=start_s + at + 1, probability=0.9)
        for at, name in enumerate(text.split())
    ]
    return Segment(
        start_s=start_s, end_s=start_s + len(words), text=text, words=tuple(words), tokens=tokens
    )


def test_a_segment_is_split_where_the_speaker_changes():
    """Texts joined are the text; the tokens stay with the first part."""
    parts = assign([said(" a b, c d.", 0)], [turn(0, 2, 0), turn(2, 9, 1)], ())
    assert [(part.text, part.speaker, part.start_s, part.end_s) for part in parts] == [
        (" a b,", "A", 0, 2),
        (" c d.", "B", 2, 4),
    ]
    assert [word.speaker for part in parts for word in part.words] == ["A", "A", "B", "B"]
    assert [part.tokens for part in parts] == [(7,), ()]


def test_who_speaks_first_is_a():
    """Whatever the plugin counts."""
    parts = assign([said(" a", 0), said(" b", 5)], [turn(0, 2, 9), turn(5, 9, 4)], ())
    assert [part.speaker for part in parts] == ["A", "B"]


def test_known_speakers_have_their_names():
    """The n-th name is speaker n's; letters that are names are not given again."""
    turns = [turn(0, 1, 1), turn(1, 2, 0), turn(2, 3, 2)]
    parts = assign([said(" x y z", 0)], turns, ("agent", "A"))
    assert [part.speaker for part in parts] == ["A", "agent", "B"]


def test_a_word_that_nobody_speaks_is_of_the_nearest():
    parts = assign([said(" a", 4), said(" b", 7)], [turn(0, 3, 0), turn(9, 10, 1)], ())
    assert [part.speaker for part in parts] == ["A", "B"]


def test_a_long_turn_reaches_over_short_ones():
    turns = [turn(0, 100, 0), *(turn(at, at + 0.1, 1) for at in range(10, 90))]
    assert {part.speaker for part in assign([said(" a b c", 50)], turns, ())} == {"A"}


def test_words_without_times_are_shared_out_by_letters():
    segment = Segment(start_s=0, end_s=4, text=" aa bb")
    parts = assign([segment], [turn(0, 2, 0), turn(2, 4, 1)], ())
    assert [(part.text, part.speaker) for part in parts] == [(" aa", "A"), (" bb", "B")]


def test_without_turns_nobody_speaks():
    segments = [said(" a", 0)]
    assert assign(segments, [], ()) == segments


def test_turns_of_one_speaker_that_overlap_count_once():
    """Said twice, a turn does not outweigh a longer one."""
    turns = [turn(0, 0.4, 0), turn(0, 0.4, 0), turn(0.4, 1, 1)]
    assert [part.speaker for part in assign([said(" a", 0)], turns, ())] == ["A"]
    assert assign([said(" a", 0)], turns, ("x", "y"))[0].speaker == "y"


@pytest.mark.parametrize(("long_s", "over"), [(1800, False), (5400, True)])
def test_a_long_first_turn_costs_little(long_s, over):
    """Three hours: words times turns would take many seconds. Over it, or before the others."""
    segments = [
        replace(said(" a b c d e f", 0), start_s=at, end_s=at + 2, words=stamped(at))
        for at in range(0, 10_800, 2)
    ]
    first = 0 if over else long_s
    short = [turn(at, at + 2, 1 + at // 2 % 2) for at in range(first, 10_800, 2)]
    began_s = time.process_time()
    parts = assign(segments, [turn(0, long_s, 0), *short], ())
    assert time.process_time() - began_s < 1.5
    assert sum(len(part.words) for part in parts) == 32_400


def stamped(at: float) -> tuple[Word, ...]:
    """Return six words in the two seconds from `at` on."""
    return tuple(
        Word(text=text, start_s=at + number * 0.3, end_s=at + number * 0.3 + 0.3, probability=1)
        for number, text in enumerate("abcdef")
    )


times = st.floats(0, 100, allow_nan=False)
turns_of_anybody = st.lists(
    st.builds(
        lambda start_s, length_s, speaker: turn(start_s, start_s + length_s, speaker),
        times,
        st.floats(0.01, 50),
        st.integers(0, 40),
    ),
    min_size=1,
)
segments_of_words = st.lists(
    st.builds(
        lambda words, at: said("".join(f" {w}" for w in words), at),
        st.lists(st.sampled_from(["a", "b.", "c"]), min_size=1),
        times,
    )
)


@given(segments_of_words, turns_of_anybody)
def test_nothing_is_lost(segments, turns):
    """Neither text nor words, and every part has a speaker and a length."""
    parts = assign(segments, turns, ())
    assert "".join(part.text for part in parts) == "".join(item.text for item in segments)
    assert [word.text for part in parts for word in part.words] == [
        word.text for item in segments for word in item.words
    ]
    assert all(part.speaker and part.end_s >= part.start_s for part in parts)


@given(segments_of_words, turns_of_anybody)
def test_a_word_is_of_who_speaks_during_most_of_it(segments, turns):
    """As a scan of all turns finds."""
    names = tuple(f"n{number}" for number in range(41))
    for part in assign(segments, turns, names):
        for word in part.words:
            shares = {name: shared(turns, names.index(name), word) for name in names}
            most = max(shares.values())
            assert most == 0 or shares[word.speaker] >= most - 1e-9


def shared(turns, speaker: int, word: Word) -> float:
    """Return how much of the word lies in the speaker's turns."""
    covered_s, reached_s = 0.0, word.start_s
    for begin, end in sorted((t.start_s, t.end_s) for t in turns if t.speaker == speaker):
        until_s = min(end, word.end_s)
        if until_s > max(begin, reached_s):
            covered_s += until_s - max(begin, reached_s)
            reached_s = until_s
    return covered_s
