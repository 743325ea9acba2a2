"""Speech with a long silence inside it, and whether its transcript kept its time stamps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from support import sounds
from support.audio_files import wav
from support.sounds import Floats
from support.speech import floats, sample

RATE_HZ = 16_000
MINUTE = sample("en_two_speakers_long")
CUT_S = 29.3
"""The middle of a pause of that minute, so that as many chunks hold the speech in either form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """`seconds` of silence, or of pink noise at `noise_db`, put into the speech at `CUT_S`."""

    seconds: float
    noise_db: float | None = None

    def samples(self) -> Floats:
        """Return what is put in."""
        clock = sounds.Clock(seconds=self.seconds, rate_hz=RATE_HZ, name="interruption")
        if self.noise_db is None:
            return sounds.silence(clock).astype(np.float32)
        return sounds.at(self.noise_db, sounds.noise(3))(clock).astype(np.float32)


def write_interrupted(path: Path, interruption: Interruption) -> Path:
    """Write a minute of speech, interrupted, as WAV."""
    speech, cut = floats(MINUTE.path), round(CUT_S * RATE_HZ)
    whole = np.concatenate([speech[:cut], interruption.samples(), speech[cut:]])
    path.write_bytes(wav(whole, RATE_HZ))
    return path


def displacement_s(
    alone: Sequence[Mapping[str, Any]],
    inside: Sequence[Mapping[str, Any]],
    interruption: Interruption,
) -> float:
    """Return how far the farthest start or end is from where the speech alone had it.

    Both are the words, or the segments, of an answer in the form `verbose_json`. Infinite: they
    are not the same words.
    """
    if [_text(stamped) for stamped in alone] != [_text(stamped) for stamped in inside]:
        return float("inf")
    worst_s = 0.0
    for before, after in zip(alone, inside, strict=True):
        moved_s = interruption.seconds if before["start"] >= CUT_S else 0.0
        for edge in ("start", "end"):
            worst_s = max(worst_s, abs(after[edge] - before[edge] - moved_s))
    return worst_s


def _text(stamped: Mapping[str, Any]) -> str:
    return stamped["word"] if "word" in stamped else stamped["text"].strip()
