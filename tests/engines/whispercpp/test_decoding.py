"""Decoding options: the request's over the alias's, and in range."""

import pytest

from whisper_router.domain import DecodingOptions
from whisper_router_engines.whispercpp.decoding import check_decoding, decoding_for
from whisper_router_engines.whispercpp.protocol import OrderError

DEFAULTS = DecodingOptions(
    beam_size=2,
    best_of=2,
    temperature=0.0,
    temperature_increment=0.2,
    no_speech_threshold=0.6,
)


def test_an_orders_options_are_laid_over_the_aliass():
    """What it does not name stays."""
    assert decoding_for(DEFAULTS, {}) == DEFAULTS
    merged = decoding_for(DEFAULTS, {"beam_size": 5})
    assert (merged.beam_size, merged.best_of) == (5, 2)


@pytest.mark.parametrize(
    ("asked", "increment"),
    [
        ({"temperature": 0.0}, 0.2),
        ({"temperature": 0.4}, 0.0),
        ({"temperature": 0.4, "temperature_increment": 0.1}, 0.1),
    ],
)
def test_a_temperature_above_zero_is_meant_as_given(asked, increment):
    """It turns fallback off, unless the order sets a step."""
    assert decoding_for(DEFAULTS, asked).temperature_increment == increment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam_size", 9),
        ("best_of", 0),
        ("temperature", 3.0),
        ("temperature_increment", 1e-9),
        ("no_speech_threshold", -0.1),
    ],
)
def test_options_out_of_range_are_refused(name, value):
    """By their name."""
    with pytest.raises(OrderError, match=name):
        decoding_for(DEFAULTS, {name: value})
    with pytest.raises(OrderError, match=name):
        check_decoding({name: value})


def test_options_that_are_not_there_are_not_looked_at():
    """A request sets few of them."""
    check_decoding({})
    check_decoding({"beam_size": 8})
