"""Words in time: as whisper.cpp's attention says, or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from whisper_router.domain import Segment
from whisper_router.stage_api import StageAudio


class DtwAlignment:
    """Takes the times that the engine gives words: for whispercpp by dynamic time warping."""

    name: ClassVar[str] = "dtw"
    needs_word_times: ClassVar[bool] = True

    async def align(
        self, segments: Sequence[Segment], audio: StageAudio, language: str | None
    ) -> Sequence[Segment]:
        """Return the segments as they are: the engine has stamped their words."""
        return segments


class NoAlignment:
    """Leaves words without times."""

    name: ClassVar[str] = "none"
    needs_word_times: ClassVar[bool] = False

    async def align(
        self, segments: Sequence[Segment], audio: StageAudio, language: str | None
    ) -> Sequence[Segment]:
        """Return the segments without words, also where the engine has stamped some."""
        return [replace(segment, words=()) for segment in segments]
