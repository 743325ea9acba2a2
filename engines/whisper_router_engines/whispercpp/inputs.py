"""What whisper.cpp is given for an order: its samples and how to decode them."""

import os
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_router.domain import SAMPLE_RATE_HZ, DecodingOptions
from whisper_router_engines.whispercpp.protocol import (
    MAX_DECODERS,
    MIN_INCREMENT,
    Order,
    OrderError,
)

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
"""whisper.cpp ignores less than 0.1 s, and its padding reads beyond less than 201 samples."""


def decoding_for(defaults: DecodingOptions, asked: Any) -> DecodingOptions:
    """Lay the order's decoding options over the alias's.

    A temperature above 0 is meant as given: it turns fallback off, unless the order sets a step.

    Raises:
        OrderError: a value is out of range.
    """
    values = asdict(defaults) | dict(asked)
    if asked.get("temperature") and "temperature_increment" not in asked:
        values["temperature_increment"] = 0.0
    merged = DecodingOptions(**values)
    for name in ("beam_size", "best_of"):
        if not 1 <= values[name] <= MAX_DECODERS:
            raise OrderError(f"{name} must be between 1 and {MAX_DECODERS}, not {values[name]}")
    for name in ("temperature", "temperature_increment", "no_speech_threshold"):
        if not 0.0 <= values[name] <= 1.0:
            raise OrderError(f"{name} must be between 0 and 1, not {values[name]}")
    if 0.0 < values["temperature_increment"] < MIN_INCREMENT:
        raise OrderError(f"temperature_increment must be 0 or at least {MIN_INCREMENT}")
    return merged


def samples_of(order: Order) -> NDArray[np.float32]:
    """Map the order's samples, float32 of shape (n,); short audio is padded with silence.

    Raises:
        OrderError: they cannot be read, or are no finite numbers.
    """
    count = order.end - order.start
    if order.start < 0 or count < 0:
        raise OrderError(f"samples {order.start} to {order.end} are not a range")
    try:
        if os.stat(order.path).st_size < 4 * order.end:  # noqa: PTH116 a plain string, no Path
            raise OrderError(f"the audio ends before sample {order.end}")
        if count < MIN_SAMPLES:
            part = np.fromfile(order.path, "<f4", count, offset=4 * order.start)
            samples = np.pad(part, (0, MIN_SAMPLES - count))
        else:
            samples = np.memmap(order.path, "<f4", "r", 4 * order.start, (count,))
    except OSError as error:
        raise OrderError(f"the audio cannot be read: {error.strerror}") from error
    if not np.isfinite(samples.sum(dtype=np.float64)):
        raise OrderError("the audio holds samples that are not finite numbers")
    return samples.view(np.ndarray)
