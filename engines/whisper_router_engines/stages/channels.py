"""Speakers told apart by the channel that they are heard on: calls, interviews, two microphones."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from whisper_router.domain import SpeakerOptions
from whisper_router.errors import EngineRejected
from whisper_router.stage_api import LEVEL_STEP_S, StageAudio, Turn

WINDOW_STEPS = 15
"""Levels are compared over 0.3 s: a syllable, with the pauses in it."""
LEAD_DB = 3.0
"""So much louder must another channel be to take over: bleeding does not change the speaker."""
SILENCE = 1e-7
"""Mean square of what nobody hears, -70 dBFS: nobody speaks there."""

Floats = npt.NDArray[np.float32]


class ChannelDiarization:
    """One speaker per channel. Who speaks is whose channel is the loudest."""

    name: ClassVar[str] = "channels"
    needs_levels: ClassVar[bool] = True
    compares_voices: ClassVar[bool] = False

    async def turns(self, audio: StageAudio, wanted: SpeakerOptions) -> Sequence[Turn]:
        """Return who speaks when.

        Raises:
            EngineRejected: more speakers are expected than there are channels.
        """
        if wanted.min_speakers is not None and wanted.min_speakers > audio.channels:
            raise EngineRejected(
                f"The audio has {audio.channels} channels, and diarization 'channels' hears one "
                f"speaker on each: there cannot be {wanted.min_speakers}.",
                param="min_speakers",
            )
        levels = audio.levels
        if levels is None:
            raise RuntimeError("no levels were measured")
        most = min(audio.channels, wanted.max_speakers or audio.channels)
        return await asyncio.to_thread(_turns, levels, audio.channels, most)


def _turns(path: Path, channels: int, most: int) -> Sequence[Turn]:
    rows: Floats = np.fromfile(path, dtype=np.float32)
    levels = rows[: len(rows) // channels * channels].reshape(-1, channels)
    loudest = np.argsort(-levels.sum(axis=0), kind="stable")[:most]
    kept = np.sort(loudest)
    smooth = _smoothed(levels[:, kept])
    speakers = [int(kept[index]) for index in range(len(kept))]
    return [
        Turn(start_s=begin * LEVEL_STEP_S, end_s=end * LEVEL_STEP_S, speaker=speakers[who])
        for begin, end, who in _runs(smooth)
    ]


def _smoothed(levels: Floats) -> Floats:
    """Return means over `WINDOW_STEPS` rows around each row."""
    sums = np.cumsum(np.pad(levels.astype(np.float64), ((1, 0), (0, 0))), axis=0)
    count, half = len(levels), WINDOW_STEPS // 2
    begins = np.clip(np.arange(count) - half, 0, None)
    ends = np.clip(np.arange(count) + half + 1, None, count)
    means = (sums[ends] - sums[begins]) / (ends - begins)[:, None]
    return means.astype(np.float32)


def _runs(levels: Floats) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and column of the stretches in which one column leads."""
    lead = 10 ** (LEAD_DB / 10)
    who, begin = -1, 0
    for row, values in enumerate(levels.tolist()):
        top = max(range(len(values)), key=values.__getitem__)
        if values[top] < SILENCE:
            now = -1
        elif who < 0 or values[top] > lead * values[who]:
            now = top
        else:
            now = who
        if now != who:
            if who >= 0:
                yield begin, row, who
            who, begin = now, row
    if who >= 0:
        yield begin, len(levels), who
