"""How many positions of whisper.cpp's window of 30 s the encoder computes. Pure."""

from typing import Final

POSITION: Final = 320
"""Samples that a position stands for: 20 ms."""
MARGIN: Final = 128
"""Positions after the audio (docs/benchmarks.md): what ends at once is heard less well."""
STEP: Final = 64
"""Audio that grows by half a second at a time need not have another shape each time."""


def positions(samples: int) -> int:
    """Return how many positions hold so many samples."""
    return -(-samples // POSITION)


def fitted(samples: int, *, margin: int, most: int) -> int:
    """Return positions for so many samples, rounded up; 0, which is all, where it saves none."""
    needed = positions(samples) + margin
    rounded = -(-needed // STEP) * STEP
    return rounded if rounded < most else 0
