"""The seam between the router and the plugins of the stages around recognition.

A request goes through three stages: `transcription`, whose plugins are the engines (`engine_api`);
`alignment`, which places words in time; and `diarization`, which tells speakers apart. A plugin of
the last two is a class with the shape of `Alignment` or `Diarization`, named by an entry point in
the group `whisper_router.alignment` or `whisper_router.diarization`. It imports this module,
`domain` and `errors`, and nothing else of ours.

A plugin is called on the router's event loop: what computes or reads files does so in a thread, or
better in a process of its own, and ends when it is cancelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Protocol

from whisper_router.domain import Segment, SpeakerOptions

LEVEL_STEP_S: Final = 0.02
"""How much audio a row of a levels file stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAudio:
    """The audio of one request, all of it.

    `path` holds 16 kHz mono float32 samples. `levels`, where a plugin asks for it, holds a row of
    `channels` float32 values for each `LEVEL_STEP_S` of audio: the mean squares of the samples of
    the source's channels.
    """

    path: Path
    duration_s: float
    channels: int
    levels: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A stretch of audio in which one speaker speaks. Turns may overlap.

    `speaker` counts from 0, as the plugin tells speakers apart.
    """

    start_s: float
    end_s: float
    speaker: int


class Alignment(Protocol):
    """Places words in time."""

    name: ClassVar[str]
    needs_word_times: ClassVar[bool]
    """Whether the engine is to stamp words with times."""

    async def align(
        self, segments: Sequence[Segment], audio: StageAudio, language: str | None
    ) -> Sequence[Segment]:
        """Return the segments with their words in time.

        Raises:
            RouterError: it cannot be done; the request fails with it.
        """
        ...


class Diarization(Protocol):
    """Tells speakers apart."""

    name: ClassVar[str]
    needs_levels: ClassVar[bool]
    """Whether it wants `StageAudio.levels`. The audio then has two channels or more: other audio is
    refused before it is recognised."""
    compares_voices: ClassVar[bool]
    """Whether it can tell known speakers by samples of their voices."""

    async def turns(self, audio: StageAudio, wanted: SpeakerOptions) -> Sequence[Turn]:
        """Return who speaks when, in order of the starts.

        With names, speaker `n` is the one of the `n`-th name, as far as there are names.

        Raises:
            RouterError: it cannot be done; the request fails with it.
        """
        ...
