"""Where somebody begins, pauses and ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio import spans
from whisper_router.live.turns import WINDOW, Kind, TurnFinder, TurnOptions

S = 16_000
WINDOWS_PER_S = S / WINDOW
OPTIONS = TurnOptions(prefix_s=0.064, settle_s=0.096, silence_s=0.256)


def marks(*parts, options=OPTIONS):
    """Feed so many windows of each probability; return kinds with the window of `at`."""
    finder = TurnFinder(options)
    found = [finder.feed(probability) for count, probability in parts for _ in range(count)]
    return [(mark.kind, mark.at // WINDOW, mark.known_at // WINDOW) for mark in found if mark]


def test_a_window_is_what_the_detector_looks_at():
    """The two packages do not import each other."""
    assert WINDOW == spans.WINDOW


def test_a_turn_begins_before_its_speech_and_ends_where_silence_began():
    """Known after 3 windows of speech, 3 of silence and 8 of silence."""
    assert marks((10, 0.0), (20, 0.9), (20, 0.0)) == [
        (Kind.BEGAN, 8, 13),
        (Kind.PAUSED, 30, 33),
        (Kind.ENDED, 30, 38),
    ]


def test_a_pause_ends_when_somebody_goes_on():
    """The turn is the same."""
    assert [mark[0] for mark in marks((5, 0.9), (5, 0.1), (5, 0.9), (3, 0.1))] == [
        Kind.BEGAN,
        Kind.PAUSED,
        Kind.RESUMED,
        Kind.PAUSED,
    ]


def test_what_is_nearly_speech_neither_begins_nor_ends_a_turn():
    """Between the two thresholds all stays as it is."""
    assert marks((50, 0.4)) == []
    assert [mark[0] for mark in marks((5, 0.9), (50, 0.4))] == [Kind.BEGAN]


def test_a_noise_is_no_turn_and_is_forgotten():
    """One window, and another one later, are not the three that a word takes."""
    assert marks((1, 0.9), (3, 0.0), (2, 0.9), (50, 0.0)) == []
    finder = TurnFinder(OPTIONS)
    for probability in (0.9, *[0.4] * 50):
        finder.feed(probability)
    assert finder.needed_from == finder.position - 2 * WINDOW


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.CLEARED])
def test_a_cut_ends_a_turn_where_it_is(kind):
    """Its last window may be shorter. Without a turn it is a mark like any other."""
    finder = TurnFinder(OPTIONS)
    for _ in range(5):
        finder.feed(0.9)
    finder.feed(0.9, 100)
    assert finder.is_turn
    for _ in range(2):
        mark = finder.cut() if kind is Kind.CUT else finder.clear()
        assert (mark.kind, mark.at, mark.known_at) == (kind, 5 * WINDOW + 100, 5 * WINDOW + 100)
        assert not finder.is_turn
    assert finder.silent_from == 5 * WINDOW + 100
    assert [finder.feed(0.9) for _ in range(2)] == [None, None]
    began = finder.feed(0.9)
    assert began is not None
    assert began.kind is Kind.BEGAN


def test_a_pause_may_linger_before_it_ends_a_turn():
    """Once each time."""
    options = TurnOptions(settle_s=0.096, early_s=0.16, silence_s=0.256)
    kinds = [mark[0] for mark in marks((5, 0.9), (7, 0.0), (5, 0.9), (9, 0.0), options=options)]
    pause = [Kind.PAUSED, Kind.LINGERED]
    assert kinds == [Kind.BEGAN, *pause, Kind.RESUMED, *pause, Kind.ENDED]


def test_a_noise_after_a_pause_that_has_lingered_is_no_speech():
    """A word is: the turn goes on, and its padding is still there."""
    options = TurnOptions(settle_s=0.096, early_s=0.16, silence_s=2.0, prefix_s=0.032)
    found = marks((5, 0.9), (6, 0.0), (2, 0.9), (6, 0.0), (3, 0.9), options=options)
    assert [mark[0] for mark in found] == [
        Kind.BEGAN,
        Kind.PAUSED,
        Kind.LINGERED,
        Kind.RESUMED,
    ]
    assert found[-1][1:] == (18, 22)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.15])
def test_silence_ends_a_turn_whatever_the_threshold_is(threshold):
    """The hysteresis cannot take it below nothing."""
    options = TurnOptions(threshold=threshold)
    kinds = [mark[0] for mark in marks((10, 0.9), (30, 0.0), options=options)]
    assert kinds == [Kind.BEGAN, Kind.PAUSED, Kind.ENDED]


def test_options_hold_from_where_they_change():
    """In a turn, too."""
    finder = TurnFinder(OPTIONS)
    for probability in (0.9, 0.9, 0.9, 0.9, 0.0, 0.0, 0.0, 0.0):
        finder.feed(probability)
    finder.tune(TurnOptions(silence_s=0.16))
    mark = finder.feed(0.0)
    assert mark is not None
    assert mark.kind is Kind.ENDED


def test_a_silence_as_short_as_a_pause_is_first_a_pause():
    """Each turn has its pause, which is recognised, before it ends."""
    options = TurnOptions(settle_s=0.3, silence_s=0.1)
    assert [mark[0] for mark in marks((5, 0.9), (9, 0.0), options=options)] == [
        Kind.BEGAN,
        Kind.PAUSED,
        Kind.ENDED,
    ]


NEXT = {
    None: {Kind.BEGAN},
    Kind.BEGAN: {Kind.PAUSED},
    Kind.PAUSED: {Kind.RESUMED, Kind.ENDED},
    Kind.RESUMED: {Kind.PAUSED},
    Kind.ENDED: {Kind.BEGAN},
}


@given(st.lists(st.tuples(st.integers(1, 20), st.sampled_from([0.0, 0.3, 0.45, 0.9]))))
def test_marks_take_turns_and_never_point_beyond_what_was_heard(parts):
    """Every turn begins once, and ends once at most."""
    before, known_at = None, 0
    for kind, at, at_known in marks(*parts):
        assert kind in NEXT[before]
        assert at <= at_known
        assert known_at <= at_known
        before, known_at = kind, at_known
