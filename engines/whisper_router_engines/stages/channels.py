"""Speakers told apart by the channel that they are heard on: calls, interviews, two microphones."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

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
"""Mean square of what nobody hears, -70 dBFS: nobody speaks there, and no floor is lower."""
FLOOR_SHARE = 0.1
"""A channel's noise is as loud as the quietest tenth of its steps: who speaks without a break
leaves so many gaps between sounds, and who is silent is noise only."""
FLOOR_DB = 6.0
"""So far above its noise is a channel's floor. Steps of steady noise differ by 3 dB."""
BLOCK_STEPS = 1 << 14
"""Rows that are worked on at a time, five minutes: what is kept of them are a few MiB."""
BIN_DB = 0.5
"""How finely levels are counted to find their quietest tenth."""
LOWEST_DB = -100.0
"""What is quieter is counted as if it were so loud."""
BINS = 600
"""Up to +200 dBFS: samples of float files may lie far outside of -1 … 1."""

Floats = npt.NDArray[np.float64]


class ChannelDiarization:
    """One speaker per channel. Who speaks is whose channel is the farthest above its own noise."""

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


@dataclass(frozen=True, slots=True)
class _Levels:
    """A file of levels, read in blocks: it may be of any length."""

    path: Path
    channels: int
    count: int

    @classmethod
    def of(cls, path: Path, channels: int) -> Self:
        return cls(path, channels, path.stat().st_size // _row_bytes(channels))

    def rows(self, begin: int, end: int) -> Floats:
        """Return the rows from `begin` to before `end`."""
        read = np.fromfile(
            self.path,
            dtype=np.float32,
            count=(end - begin) * self.channels,
            offset=begin * _row_bytes(self.channels),
        )
        return read.reshape(-1, self.channels).astype(np.float64)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield where blocks begin and end."""
        yield from pairwise([*range(0, self.count, BLOCK_STEPS), self.count])

    def smooth(self, begin: int, end: int) -> Floats:
        """Return means over `WINDOW_STEPS` rows around each row of a block."""
        half = WINDOW_STEPS // 2
        first, last = max(0, begin - half), min(self.count, end + half)
        sums = np.cumsum(np.pad(self.rows(first, last), ((1, 0), (0, 0))), axis=0)
        row = np.arange(begin, end)
        begins = np.maximum(row - half, first) - first
        ends = np.minimum(row + half + 1, last) - first
        means: Floats = (sums[ends] - sums[begins]) / (ends - begins)[:, None]
        return means


def _row_bytes(channels: int) -> int:
    return channels * np.dtype(np.float32).itemsize


def _turns(path: Path, channels: int, most: int) -> Sequence[Turn]:
    levels = _Levels.of(path, channels)
    floors, above = _floors(levels)
    kept = np.sort(np.argsort(-above, kind="stable")[:most])
    return [
        Turn(start_s=begin * LEVEL_STEP_S, end_s=end * LEVEL_STEP_S, speaker=int(kept[who]))
        for begin, end, who in _runs(levels, kept, floors[kept])
    ]


def _floors(levels: _Levels) -> tuple[Floats, Floats]:
    """Return each channel's floor, and how much of its energy lies above that.

    Steps in which a channel is digitally silent say nothing of its noise: they are not counted.
    """
    counts, sums = np.zeros((2, levels.channels, BINS))
    for begin, end in levels.blocks():
        for channel, values in enumerate(levels.rows(begin, end).T):
            heard = values[values > SILENCE]
            number = ((10 * np.log10(heard) - LOWEST_DB) / BIN_DB).astype(np.int64)
            number = np.clip(number, 0, BINS - 1)
            counts[channel] += np.bincount(number, minlength=BINS)
            sums[channel] += np.bincount(number, weights=heard, minlength=BINS)
    quiet = (np.cumsum(counts, axis=1) >= FLOOR_SHARE * counts.sum(axis=1)[:, None]).argmax(axis=1)
    noise = 10 ** ((LOWEST_DB + (quiet + 0.5) * BIN_DB) / 10)
    floors = np.maximum(SILENCE, noise * 10 ** (FLOOR_DB / 10))
    return floors, np.maximum(sums - counts * floors[:, None], 0).sum(axis=1)


def _runs(
    levels: _Levels, kept: npt.NDArray[np.int64], floors: Floats
) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and column of the stretches in which one column leads."""
    who, since = -1, 0
    for first, last in levels.blocks():
        above = np.maximum(levels.smooth(first, last)[:, kept] - floors, 0)
        for row, now in _changes(above, who):
            if who >= 0:
                yield since, first + row, who
            who, since = now, first + row
    if who >= 0:
        yield since, levels.count, who


def _changes(above: Floats, who: int) -> Iterator[tuple[int, int]]:
    """Yield the rows at which another column leads than before, -1 for none, and that column.

    `who` leads before the first row.
    """
    loudest, top = above.argmax(axis=1), above.max(axis=1)
    is_silent = top <= 0
    is_lost = is_silent[:, None] | (top[:, None] > 10 ** (LEAD_DB / 10) * above)
    ends = [*(np.flatnonzero(column) for column in is_lost.T), np.flatnonzero(~is_silent)]
    row = 0
    while (at := int(np.searchsorted(ends[who], row))) < len(ends[who]):
        row = int(ends[who][at])
        who = -1 if is_silent[row] else int(loudest[row])
        yield row, who
