"""Numbers about what was heard, all of them finite. Pure."""

import math
import zlib

WORST_LOGPROB = -100.0
"""What a token of probability 0 is given instead of minus infinity."""


def finite(value: float) -> float:
    """Return `value`, or 0 if it is infinite or no number."""
    return value if math.isfinite(value) else 0.0


def logprob(value: float) -> float:
    """Return the natural logarithm of a probability, and no less than `WORST_LOGPROB`."""
    return max(value, WORST_LOGPROB) if math.isfinite(value) else WORST_LOGPROB


def compression_ratio(text: bytes) -> float:
    """Return how much zlib shortens `text`, as openai-whisper measures repetition."""
    return len(text) / len(zlib.compress(text))
