"""Every number that leaves an engine is finite."""

import math

import pytest

from whisper_router_engines.whispercpp.numbers import (
    WORST_LOGPROB,
    compression_ratio,
    finite,
    logprob,
)


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_becomes_one(strange):
    """JSON has no word for it."""
    assert finite(strange) == 0.0
    assert logprob(strange) == WORST_LOGPROB


def test_other_numbers_stay_as_they_are():
    """But for probabilities that are as good as none."""
    assert finite(-2.5) == -2.5
    assert logprob(-0.5) == -0.5
    assert logprob(-1000.0) == WORST_LOGPROB


def test_repetition_compresses_well():
    """A ratio over 2.4 is how openai-whisper knows a loop."""
    assert compression_ratio(b"") == 0.0
    assert compression_ratio(b"alpha bravo charlie") < 1.0
    assert compression_ratio(b"alpha " * 50) > 2.4
