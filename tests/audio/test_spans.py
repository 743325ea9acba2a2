"""Where speech is: the rule with made-up probabilities, however they are split."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.media import Span, VadOptions
from whisper_router.audio.spans import MIN_PAUSE_S, WINDOW_S, SpanFinder

ROUNDING_S = 1e-9
probabilities = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.35, 0.5, 1.0]), max_size=200)
options = st.builds(
    VadOptions,
    threshold=st.floats(0.2, 0.9),
    hysteresis=st.floats(0, 0.2),
    min_speech_s=st.floats(0, 0.5),
    min_silence_s=st.floats(0, 1),
    pad_s=st.floats(0, 0.5),
    min_contrast_db=st.just(0.0),
)


def spans_of(windows, vad=None, *, duration_s=None):
    """Spans as pairs."""
    finder = SpanFinder(vad or VadOptions())
    finder.feed(windows, [0.01] * len(windows))
    finder.end(len(windows) * WINDOW_S if duration_s is None else duration_s)
    return pairs(finder.found().spans)


def pairs(spans):
    return [(span.start_s, span.end_s) for span in spans]


def pieces_of(windows, cuts):
    """The windows, cut at some places."""
    edges = [0, *sorted(cut % (len(windows) + 1) for cut in cuts), len(windows)]
    return [windows[begin:end] for begin, end in itertools.pairwise(edges)]


cuts = st.lists(st.integers(0, 1000), max_size=8)


@given(
    windows=probabilities,
    vad=options,
    contrast_db=st.sampled_from([0.0, 3.0]),
    cuts=cuts,
    seed=st.integers(0, 99),
)
def test_any_split_finds_the_same_and_what_was_told_stays_true(
    windows, vad, contrast_db, cuts, seed
):
    """What is told early is never taken back."""
    duration_s, vad = len(windows) * WINDOW_S, replace(vad, min_contrast_db=contrast_db)
    sounds = [(p, random.Random(seed + at).random()) for at, p in enumerate(windows)]
    whole = SpanFinder(vad)
    whole.feed(windows, [power for _, power in sounds])
    whole.end(duration_s)
    expected = whole.found()
    finder, spans, pauses, promises = SpanFinder(vad), [], [], []
    for piece in pieces_of(sounds, cuts):
        finder.feed([p for p, _ in piece], [power for _, power in piece])
        found = finder.found()
        spans += found.spans
        pauses += found.pauses
        promises.append((len(spans), found))
    finder.end(duration_s)
    last = finder.found()
    spans += last.spans
    assert spans == list(expected.spans)
    assert pauses == list(expected.pauses)
    for told, found in promises:
        later = spans[told:]
        if found.going_on is not None:
            first = later.pop(0)
            assert first.start_s == found.going_on.start_s
            assert first.end_s >= min(found.going_on.end_s, duration_s)
            assert all(span.start_s >= found.going_on.end_s for span in later)
        else:
            assert all(span.start_s >= found.quiet_until_s for span in later)


@pytest.mark.parametrize(
    ("probability", "power", "stays"),
    [(0.9, 0.01, False), (0.9, 0.03, True), (0.96, 0.01, True)],
    ids=["as loud as around", "louder", "certain"],
)
def test_a_doubtful_stretch_stays_if_it_stands_out(probability, power, stays):
    """The detector takes music for speech for a moment, but it is as loud before and after."""
    around = [0.01] * 40
    finder = SpanFinder(VadOptions())
    finder.feed([0.1] * 40 + [probability] * 10 + [0.1] * 40, [*around, *[power] * 10, *around])
    finder.end(90 * WINDOW_S)
    assert len(finder.found().spans) == stays


def test_with_nothing_to_compare_with_a_doubtful_stretch_stays():
    """A clip may hold nothing but a word."""
    assert len(spans_of([0.6] * 20)) == 1


def test_pauses_inside_speech_are_told_and_closed_mouths_are_not():
    """A pause of four windows counts; one of two is part of a word."""
    finder = SpanFinder(VadOptions())
    windows = [1.0] * 10 + [0.0] * 2 + [1.0] * 10 + [0.0] * 4 + [1.0] * 10
    finder.feed(windows, windows)
    assert finder.found().pauses == (Span(start_s=22 * WINDOW_S, end_s=26 * WINDOW_S),)
    assert 2 * WINDOW_S < MIN_PAUSE_S < 4 * WINDOW_S


@given(windows=probabilities, vad=options, lost=st.floats(0, 0.999))
def test_spans_are_in_order_inside_the_audio_and_do_not_overlap(windows, vad, lost):
    """Whatever the model says and however it is tuned."""
    duration_s = max(0.0, (len(windows) - lost) * WINDOW_S)
    spans = spans_of(windows, vad, duration_s=duration_s)
    assert all(0 <= start < end <= duration_s for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


@given(windows=probabilities, vad=options)
def test_all_windows_over_the_threshold_are_in_a_span_unless_too_short(windows, vad):
    """With no least length nothing that sounds like speech is lost."""
    keep_all = VadOptions(
        threshold=vad.threshold,
        hysteresis=vad.hysteresis,
        min_speech_s=0,
        min_silence_s=vad.min_silence_s,
        pad_s=vad.pad_s,
        min_contrast_db=0,
    )
    spans = spans_of(windows, keep_all)
    for index, probability in enumerate(windows):
        middle_s = (index + 0.5) * WINDOW_S
        inside = any(start <= middle_s <= end for start, end in spans)
        assert inside or probability < vad.threshold


@given(windows=probabilities, vad=options)
def test_no_window_over_the_threshold_means_no_span(windows, vad):
    """Noise under the threshold opens nothing."""
    assert spans_of([min(p, vad.threshold - 0.01) for p in windows], vad) == []


@given(windows=probabilities, vad=options)
def test_what_is_far_from_speech_is_in_no_span(windows, vad):
    """Padding reaches `pad_s` and no further; pauses are bridged up to `min_silence_s`."""
    reach = vad.pad_s + vad.min_silence_s + 2 * WINDOW_S
    loud = [i * WINDOW_S for i, p in enumerate(windows) if p >= vad.threshold - vad.hysteresis]
    for start, end in spans_of(windows, vad):
        for time_s in (start, end):
            assert min(abs(time_s - near) for near in loud) <= reach + ROUNDING_S


def test_short_pauses_are_bridged_and_long_ones_end_a_span():
    """0.5 s of silence is 16 windows."""
    vad = VadOptions(pad_s=0)
    assert len(spans_of([1.0] * 10 + [0.0] * 15 + [1.0] * 10, vad)) == 1
    first, second = spans_of([1.0] * 10 + [0.0] * 20 + [1.0] * 10, vad)
    assert first == pytest.approx((0, 10 * WINDOW_S))
    assert second == pytest.approx((30 * WINDOW_S, 40 * WINDOW_S))


def test_probabilities_between_the_thresholds_neither_begin_nor_end_speech():
    """Hysteresis: 0.4 is not enough to begin at 0.5, and too much to end at 0.35."""
    vad = VadOptions(pad_s=0)
    assert spans_of([0.4] * 100, vad) == []
    assert spans_of([1.0] * 5 + [0.4] * 95, vad) == [(0, pytest.approx(100 * WINDOW_S))]


def test_bursts_shorter_than_the_least_speech_are_dropped():
    """A click of two windows is not a word; four are."""
    silence = [0.0] * 30
    assert spans_of([*silence, 1.0, 1.0, *silence]) == []
    assert len(spans_of([*silence, 1.0, 1.0, 1.0, 1.0, *silence])) == 1


def test_padding_is_shared_where_spans_are_close():
    """Neighbours meet in the middle of the gap."""
    vad = VadOptions(min_silence_s=0.1, pad_s=10)
    first, second = spans_of([0.0] * 10 + [1.0] * 10 + [0.0] * 10 + [1.0] * 10, vad)
    assert first == pytest.approx((0, 25 * WINDOW_S))
    assert second == pytest.approx((25 * WINDOW_S, 40 * WINDOW_S))
