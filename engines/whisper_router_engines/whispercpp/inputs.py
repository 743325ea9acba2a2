"""The samples that whisper.cpp is given for an order."""

import os

import numpy as np
from numpy.typing import NDArray

from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router_engines.whispercpp.protocol import Order, OrderError

MIN_SAMPLES = SAMPLE_RATE_HZ // 10
"""whisper.cpp ignores less than 0.1 s, and its padding reads beyond less than 201 samples."""


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
