"""The alias's options."""

from pathlib import Path

import _pywhispercpp as pw
import pytest
from pydantic import ValidationError

from whisper_router_engines.whispercpp.options import WhisperCppOptions

DOCS = Path(__file__).parents[3] / "docs" / "engines.md"


@pytest.mark.parametrize(
    "bad",
    [
        {"worker": 2},
        {"workers": 0},
        {"acceleration": "tpu"},
        {"dtw": "huge"},
        {"beam_size": 9},
        {"temperature": 1.5},
        {"temperature_increment": 0.001},
        {"entropy_threshold": float("nan")},
        {"logprob_threshold": float("-inf")},
        {"max_context_tokens": 225},
    ],
)
def test_wrong_values_and_unknown_names_are_refused(bad):
    """They are found when the configuration is read, not at the first request."""
    with pytest.raises(ValidationError):
        WhisperCppOptions.model_validate(bad)


def test_decoding_defaults_are_whisper_cpps():
    """Nobody is surprised who knows whisper.cpp."""
    options = WhisperCppOptions()
    params = pw.whisper_full_default_params(pw.whisper_sampling_strategy(0))
    assert options.best_of == params.greedy["best_of"]
    assert options.suppress_nst == params.suppress_nst
    assert options.flash_attn == pw.whisper_context_default_params().flash_attn
    for ours, theirs in (
        (options.temperature, params.temperature),
        (options.temperature_increment, params.temperature_inc),
        (options.entropy_threshold, params.entropy_thold),
        (options.logprob_threshold, params.logprob_thold),
        (options.no_speech_threshold, params.no_speech_thold),
    ):
        assert ours == pytest.approx(theirs)
