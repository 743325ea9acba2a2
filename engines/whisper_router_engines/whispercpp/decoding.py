"""How to decode: what a request asks for, laid over what its alias is set to."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from whisper_router.domain import DecodingOptions
from whisper_router_engines.whispercpp.protocol import MAX_DECODERS, MIN_INCREMENT, OrderError

SHARES = ("temperature", "temperature_increment", "no_speech_threshold")
"""Options that lie between 0 and 1."""


def decoding_for(defaults: DecodingOptions, asked: Mapping[str, Any]) -> DecodingOptions:
    """Lay the order's decoding options over the alias's.

    A temperature above 0 is meant as given: it turns fallback off, unless the order sets a step.

    Raises:
        OrderError: a value is out of range.
    """
    values = asdict(defaults) | dict(asked)
    if asked.get("temperature") and "temperature_increment" not in asked:
        values["temperature_increment"] = 0.0
    check_decoding(values)
    return DecodingOptions(**values)


def check_decoding(values: Mapping[str, Any]) -> None:
    """Look whether whisper.cpp can decode with these options; one that is not there is none.

    Raises:
        OrderError: a value is out of range.
    """
    for name in ("beam_size", "best_of"):
        if name in values and not 1 <= values[name] <= MAX_DECODERS:
            raise OrderError(f"{name} must be between 1 and {MAX_DECODERS}, not {values[name]}")
    for name in SHARES:
        if name in values and not 0.0 <= values[name] <= 1.0:
            raise OrderError(f"{name} must be between 0 and 1, not {values[name]}")
    if 0.0 < values.get("temperature_increment", 0.0) < MIN_INCREMENT:
        raise OrderError(f"temperature_increment must be 0 or at least {MIN_INCREMENT}")
