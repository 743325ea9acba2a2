"""Chunks are cut in silence, hold all speech and never overlap."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.pipeline.plan import MAX_CHUNK_S, MAX_SILENCE_S, plan_chunks, whole


@st.composite
def speech(draw: st.DrawFn) -> tuple[list[tuple[float, float]], float]:
    spans, now = [], 0.0
    for _ in range(draw(st.integers(0, 30))):
        start = now + draw(st.floats(0.01, 40))
        now = start + draw(st.floats(0.1, 45))
        spans.append((start, now))
    return spans, now + draw(st.floats(0, 10))


@given(speech())
def test_chunks_cover_all_speech_in_order_without_overlap(case):
    """Every speech sample is in exactly one chunk."""
    spans, duration_s = case
    chunks = plan_chunks(spans, duration_s=duration_s)
    for before, after in pairwise(chunks):
        assert before.end <= after.start
    for start, end in spans:
        first, last = round(start * SAMPLE_RATE_HZ), round(end * SAMPLE_RATE_HZ)
        assert any(chunk.start <= first and last <= chunk.end for chunk in chunks)


@given(speech())
def test_a_chunk_is_one_window_unless_its_speech_has_no_pause(case):
    """Only a single uninterrupted span may be longer than 30 s."""
    spans, duration_s = case
    for chunk in plan_chunks(spans, duration_s=duration_s):
        if chunk.end - chunk.start > MAX_CHUNK_S * SAMPLE_RATE_HZ + 1:
            inside = [s for s in spans if chunk.start <= round(s[0] * SAMPLE_RATE_HZ) < chunk.end]
            assert len(inside) == 1


def test_a_long_silence_is_not_decoded():
    """Two words with a minute between them are two short chunks."""
    chunks = plan_chunks([(1.0, 2.0), (62.0, 63.0)], duration_s=70.0)
    assert [(c.start, c.end) for c in chunks] == [(16_000, 32_000), (992_000, 1_008_000)]
    assert MAX_SILENCE_S < 60


def test_no_speech_means_no_chunk():
    """Silence reaches no engine."""
    assert plan_chunks([], duration_s=60.0) == []


def test_whole_is_everything():
    """Without voice detection the file is one chunk."""
    assert whole(2.5).end == 40_000
