"""Speech spans → chunks. Pure.

Whisper looks at windows of 30 s. A chunk is at most one window, cut in silence, so that no word
is split and long silences are never decoded: Whisper invents text there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from whisper_router.domain import SAMPLE_RATE_HZ

MAX_CHUNK_S = 30.0
"""Whisper's window (Radford et al. 2022, section 2.2)."""

MAX_SILENCE_S = 5.0
"""A longer silence ends a chunk, however short that is: it need not be decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRange:
    """Samples `[start, end)` at 16 kHz."""

    start: int
    end: int


def plan_chunks(
    speech: Sequence[tuple[float, float]], *, duration_s: float
) -> Sequence[SampleRange]:
    """Return chunks in time order that hold all speech and do not overlap.

    Args:
        speech: padded (start, end) in seconds, in order and disjoint.
        duration_s: length of the audio; nothing reaches beyond it.

    A stretch of speech longer than 30 s without a pause stays one chunk: the engine moves its
    window through it by its own time stamps, which splits fewer words than a cut at a fixed place.
    """
    groups: list[tuple[float, float]] = []
    for start, end in speech:
        if groups and _joins(groups[-1], start, end):
            groups[-1] = (groups[-1][0], end)
        else:
            groups.append((start, end))
    return [_samples(start, min(end, duration_s)) for start, end in groups]


def whole(duration_s: float) -> SampleRange:
    """Return everything as one chunk: what is decoded when speech is not looked for."""
    return _samples(0.0, duration_s)


def _joins(chunk: tuple[float, float], start: float, end: float) -> bool:
    return end - chunk[0] <= MAX_CHUNK_S and start - chunk[1] <= MAX_SILENCE_S


def _samples(start_s: float, end_s: float) -> SampleRange:
    return SampleRange(start=round(start_s * SAMPLE_RATE_HZ), end=round(end_s * SAMPLE_RATE_HZ))
