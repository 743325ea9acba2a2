"""What an alias may set."""

import pytest
from pydantic import ValidationError

from whisper_router_engines.whisper_server.options import WhisperServerOptions


@pytest.mark.parametrize(
    "flag", ["--port", "-m", "--request-path", "-l", "-tr", "--vad", "-t", "-pr"]
)
def test_flags_that_the_engine_relies_on_are_refused(flag):
    """They would change where it listens, or what its answers mean; the message names them."""
    with pytest.raises(ValidationError, match=flag):
        WhisperServerOptions(extra_args=(flag, "1"))


def test_other_flags_are_the_users_own():
    """In the program's spelling and order."""
    options = WhisperServerOptions(extra_args=("-dtw", "base.en", "-debug"))
    assert options.extra_args == ("-dtw", "base.en", "-debug")


@pytest.mark.parametrize("values", [{"binary": ""}, {"workers": 0}, {"threads": -1}])
def test_values_out_of_range_are_refused(values):
    """When the configuration is read."""
    with pytest.raises(ValidationError):
        WhisperServerOptions(**values)
