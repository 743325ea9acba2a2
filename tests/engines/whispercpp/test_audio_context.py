"""How many positions are encoded for a window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router_engines.whispercpp.audio_context import MARGIN, POSITION, fitted


@pytest.mark.parametrize(
    ("seconds", "positions"),
    [(0.1, 192), (1, 192), (2, 256), (8, 576), (15, 896), (26, 1472), (28, 0), (30, 0)],
)
def test_a_window_has_as_many_positions_as_it_is_long_and_a_margin(seconds, positions):
    """50 for a second, in steps of 64; where that is nearly all, it is all."""
    assert fitted(int(seconds * 16_000), margin=MARGIN, most=1500) == positions


@given(st.integers(0, 30 * 16_000), st.integers(0, 500), st.integers(1, 1500))
def test_all_audio_is_encoded_and_never_more_than_there_may_be(samples, margin, most):
    """0 stands for the most."""
    count = fitted(samples, margin=margin, most=most) or most
    assert count <= most
    assert count == most or count * POSITION >= samples + margin * POSITION
