"""Chunks are cut in silence, hold all speech and overlap only where there is no pause."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.media import Found, Span, VadOptions
from whisper_router.audio.spans import WINDOW_S, SpanFinder
from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.pipeline.plan import MAX_CHUNK_S, OVERLAP_S, PlannedChunk, Planner, whole

MAX_SILENCE_S = 5.0
SAMPLE_S = 1 / SAMPLE_RATE_HZ


@st.composite
def speech(draw: st.DrawFn) -> list[float]:
    """Probabilities of several minutes: speech and silence of all lengths, with short pauses."""
    windows: list[float] = []
    for _ in range(draw(st.integers(0, 8))):
        windows += [0.0] * draw(st.integers(1, 400))
        for _ in range(draw(st.integers(1, 5))):
            windows += [1.0] * draw(st.integers(1, 1500))
            windows += [0.0] * draw(st.integers(0, 14))
    return windows


options = st.builds(
    VadOptions,
    min_speech_s=st.floats(0, 0.5),
    min_silence_s=st.floats(0, 1),
    pad_s=st.floats(0, 1),
)


def listen(windows, vad, cuts, lost=0.4) -> tuple[list[PlannedChunk], list[Span], list[Span]]:
    """Return chunks, spans and pauses of audio that comes in pieces.

    Of the last window the share `lost` is padding, so what was found is asked for at the end.
    """
    planner, finder = Planner(max_silence_s=MAX_SILENCE_S), SpanFinder(vad)
    edges = [0, *sorted(cut % (len(windows) + 1) for cut in cuts), len(windows)]
    chunks, spans, pauses = [], [], []

    def take(found: Found) -> None:
        spans.extend(found.spans)
        pauses.extend(found.pauses)
        chunks.extend(planner.add(found))

    for begin, end in itertools.pairwise(edges):
        finder.feed(windows[begin:end], windows[begin:end])
        if end < len(windows):
            take(finder.found())
    finder.end(max(0.0, len(windows) - lost) * WINDOW_S)
    take(finder.found())
    chunks.extend(planner.end())
    return chunks, spans, pauses


cases = given(
    windows=speech(), vad=options, cuts=st.lists(st.integers(0, 20_000), min_size=1, max_size=12)
)


@cases
def test_any_split_of_the_audio_gives_the_same_chunks(windows, vad, cuts):
    """It only changes when each is known."""
    assert listen(windows, vad, cuts)[0] == listen(windows, vad, [])[0]


@cases
def test_chunks_hold_all_speech_and_are_no_longer_than_a_window(windows, vad, cuts):
    """Each moment of speech is in one chunk, or in the overlap of two."""
    chunks, spans, _ = listen(windows, vad, cuts)
    assert all(chunk.end * SAMPLE_S <= len(windows) * WINDOW_S - 0.01 for chunk in chunks)
    for chunk in chunks:
        assert 0 < chunk.end - chunk.start <= MAX_CHUNK_S * SAMPLE_RATE_HZ + 1
    for span in spans:
        at = round(span.start_s * SAMPLE_RATE_HZ)
        for chunk in chunks:
            if chunk.start <= at <= chunk.end:
                at = max(at, chunk.end)
        assert at >= round(span.end_s * SAMPLE_RATE_HZ)


@cases
def test_chunks_keep_order_and_overlap_only_where_there_is_no_pause(windows, vad, cuts):
    """An overlap is announced on both sides, and its window holds no pause."""
    chunks, _, pauses = listen(windows, vad, cuts)
    for before, after in itertools.pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        assert after.overlap == max(0, before.end - after.start)
        assert before.is_cut == (after.overlap > 0)
        if before.is_cut:
            assert after.overlap == OVERLAP_S * SAMPLE_RATE_HZ
            start_s, end_s = before.start * SAMPLE_S, before.end * SAMPLE_S
            assert not any(
                pause.start_s > start_s + SAMPLE_S and pause.end_s < end_s - SAMPLE_S
                for pause in pauses
            )


@cases
def test_what_is_settled_does_not_change_any_more(windows, vad, cuts):
    """All later chunks begin after it, and it never goes back."""
    planner, finder = Planner(max_silence_s=MAX_SILENCE_S), SpanFinder(vad)
    settled_s = 0.0
    edges = [0, *sorted(cut % (len(windows) + 1) for cut in cuts), len(windows)]
    for begin, end in itertools.pairwise(edges):
        finder.feed(windows[begin:end], windows[begin:end])
        for chunk in planner.add(finder.found()):
            assert chunk.end * SAMPLE_S >= settled_s - SAMPLE_S
            assert chunk.start * SAMPLE_S >= settled_s - OVERLAP_S - 1e-4 - SAMPLE_S
        assert planner.settled_s >= settled_s
        settled_s = planner.settled_s


def plan(*spans, pauses=()) -> list[tuple[float, float]]:
    """Chunks of speech that is known at once, in seconds."""
    planner = Planner(max_silence_s=MAX_SILENCE_S)
    found = Found(
        spans=[Span(start_s=start, end_s=end) for start, end in spans],
        pauses=[Span(start_s=start, end_s=end) for start, end in pauses],
    )
    chunks = [*planner.add(found), *planner.end()]
    return [(chunk.start * SAMPLE_S, chunk.end * SAMPLE_S) for chunk in chunks]


def test_a_long_silence_is_not_decoded():
    """Two words with a minute between them are two short chunks; with a second, one."""
    assert plan((1.0, 2.0), (62.0, 63.0)) == [(1.0, 2.0), (62.0, 63.0)]
    assert plan((1.0, 2.0), (3.0, 4.0)) == [(1.0, 4.0)]


def test_a_long_stretch_is_cut_in_its_longest_late_pause():
    """Its second half is preferred; the chunks meet in the pause's middle."""
    pauses = [(5.0, 5.4), (20.0, 20.1), (25.0, 25.2), (29.0, 29.1)]
    assert plan((0.0, 40.0), pauses=pauses) == [(0.0, 25.1), (25.1, 40.0)]
    assert plan((0.0, 40.0), pauses=[(3.0, 3.1), (5.0, 5.2)]) == [
        (0.0, pytest.approx(5.1)),
        (pytest.approx(5.1), pytest.approx(35.1)),
        (pytest.approx(32.1), 40.0),
    ]


def test_a_pause_across_the_end_of_the_window_is_cut_at_its_beginning():
    """It is a pause all the same."""
    assert plan((0.0, 40.0), pauses=[(29.8, 30.6)]) == [
        (0.0, pytest.approx(29.9)),
        (pytest.approx(29.9), 40.0),
    ]


def test_speech_without_any_pause_is_cut_with_an_overlap():
    """Three seconds are heard twice, to be joined at a word."""
    assert plan((10.0, 50.0)) == [(10.0, 40.0), (37.0, 50.0)]


def test_the_first_chunk_is_known_before_the_speech_ends():
    """Nobody waits for the end of a stretch of ten minutes."""
    planner = Planner(max_silence_s=MAX_SILENCE_S)
    going_on = Span(start_s=2.0, end_s=33.0)
    first = planner.add(Found(going_on=going_on, pauses=[Span(start_s=29.0, end_s=29.2)]))
    assert [(chunk.start, chunk.end) for chunk in first] == [(32_000, round(29.1 * 16_000))]


def test_no_speech_means_no_chunk():
    """Silence reaches no engine."""
    assert plan() == []


def test_whole_is_everything():
    """Without voice detection the file is one chunk."""
    assert whole(2.5) == PlannedChunk(start=0, end=40_000)
