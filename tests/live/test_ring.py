"""A bounded window onto endless audio."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.live.ring import SampleRing


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=30))
def test_what_is_kept_is_what_was_appended_there(steps):
    """Whatever is appended and dropped, positions count from the beginning of all audio."""
    ring, total = SampleRing(16), 0
    for count, dropped in steps:
        ring.drop(dropped)
        if count > ring.room:
            with pytest.raises(BufferError):
                ring.append(np.zeros(count, dtype=np.float32))
            continue
        ring.append(np.arange(total, total + count, dtype=np.float32))
        total += count
        assert ring.end == total
        assert ring.room == 16 - (ring.end - ring.begin)
        assert ring.read(ring.begin, ring.end).tolist() == list(range(ring.begin, ring.end))


def test_what_is_not_there_cannot_be_read():
    """Neither what was dropped nor what has not come."""
    ring = SampleRing(8)
    ring.append(np.ones(6, dtype=np.float32))
    ring.drop(2)
    for start, end in ((1, 3), (3, 7), (4, 3)):
        with pytest.raises(IndexError):
            ring.read(start, end)
