"""Segments end up in order, inside the audio, with words inside the segment."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.domain import Segment, Word
from whisper_router.pipeline.merge import place

seconds = st.floats(-5, 100, allow_nan=False)


@given(
    seconds,
    seconds,
    st.lists(st.tuples(seconds, seconds), max_size=8),
    st.floats(0, 50),
    st.floats(0, 60),
)
def test_whatever_an_engine_stamps_is_put_in_order(start, end, words, offset, after):
    """Times never go back and never leave the chunk."""
    limit = offset + 30
    after = min(after, limit)
    segment = Segment(
        start_s=start,
        end_s=end,
        text=" x",
        words=[Word(text="x", start_s=a, end_s=b, probability=1.0) for a, b in words],
    )
    placed = place(segment, offset_s=offset, limit_s=limit, after_s=after)
    assert round(after, 3) <= placed.start_s <= placed.end_s <= round(limit, 3) + 0.001
    times = [placed.start_s]
    for word in placed.words:
        times += [word.start_s, word.end_s]
    times.append(placed.end_s)
    assert all(a <= b for a, b in pairwise(times))


def test_good_times_are_only_shifted():
    """A segment that is already right keeps its length."""
    word = Word(text="hello", start_s=0.5, end_s=1.0, probability=0.9)
    segment = Segment(start_s=0.4, end_s=1.2, text=" hello", words=[word])
    placed = place(segment, offset_s=10.0, limit_s=20.0, after_s=0.0)
    assert (placed.start_s, placed.end_s) == (10.4, 11.2)
    assert (placed.words[0].start_s, placed.words[0].end_s) == (10.5, 11.0)
    assert placed.seek_s == 10.0
