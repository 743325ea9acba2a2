"""Who speaks when in a file, without recognising what."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.domain import SpeakerOptions
from whisper_router.pipeline.speakers import Labels
from whisper_router.pipeline.stages import Stages
from whisper_router.pipeline.transcribe import MediaSource, levels_path
from whisper_router.stage_api import StageAudio


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerTurn:
    """A stretch of audio in which one speaker speaks, in seconds."""

    start_s: float
    end_s: float
    speaker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerTurns:
    """All turns of a file of `duration_s`, in the order of their starts."""

    duration_s: float
    turns: Sequence[SpeakerTurn]


class SpeakerFinder:
    """Has a diarization listen to whole files."""

    def __init__(self, media: MediaPool, spool: Spool, stages: Stages) -> None:
        self._media, self._spool, self._stages = media, spool, stages

    async def find(self, media: MediaSource, wanted: SpeakerOptions) -> SpeakerTurns:
        """Return who speaks when.

        Raises:
            RouterError: no installed diarization does what is wanted, or as `MediaPool.prepare`.
        """
        diarization = self._stages.diarization_for(wanted)
        target = self._spool.new_path(".f32")
        levels = levels_path(target) if diarization.needs_levels else None
        try:
            audio = await self._media.prepare(media.path, target, pcm=media.pcm, levels=levels)
            known = StageAudio(
                path=target, duration_s=audio.duration_s, channels=audio.channels, levels=levels
            )
            found = await diarization.turns(known, wanted)
        finally:
            paths = [target] if levels is None else [target, levels]
            for path in paths:
                await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
        labels = Labels(wanted.names)
        return SpeakerTurns(
            duration_s=audio.duration_s,
            turns=[
                SpeakerTurn(
                    start_s=turn.start_s,
                    end_s=min(turn.end_s, audio.duration_s),
                    speaker=labels.of(turn.speaker),
                )
                for turn in found
            ],
        )
