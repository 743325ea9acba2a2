"""The stages around recognition: which plugins there are, and what they do with a transcript."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from whisper_router.audio.media import PreparedAudio
from whisper_router.domain import Segment, SpeakerOptions, TranscriptionRequest
from whisper_router.engine_api import Capabilities
from whisper_router.errors import InvalidParameter
from whisper_router.pipeline.speakers import assign
from whisper_router.stage_api import Alignment, Diarization, StageAudio

Plugin = TypeVar("Plugin")
AUTO_ALIGNMENT = "auto"
"""The alignment of who wants words in time where the engine stamps them, and else goes without."""
ENGINE_ALIGNMENT = "dtw"
"""The one that takes the engine's times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """The installed plugins by name, and which of them tells speakers apart by default.

    `engines` are the names of those of the stage transcription.
    """

    engines: Collection[str] = ()
    alignments: Mapping[str, Alignment] = field(default_factory=dict)
    diarizations: Mapping[str, Diarization] = field(default_factory=dict)
    diarization: str = ""

    def check(self, request: TranscriptionRequest) -> None:
        """Refuse what no plugin does.

        Raises:
            InvalidParameter: `unsupported_value`, with what would have to be installed.
        """
        self._alignment(request)
        if request.speakers is not None:
            self.diarization_for(request.speakers)

    def diarization_for(self, wanted: SpeakerOptions) -> Diarization:
        """Return the plugin that is to tell speakers apart.

        Raises:
            InvalidParameter: it is not installed, or cannot do what is wanted.
        """
        found = _installed("diarization", wanted.method or self.diarization, self.diarizations)
        if wanted.has_references and not found.compares_voices:
            raise _unsupported(
                f"The diarization '{found.name}' compares no voices. Send known_speaker_names "
                "without references: they name its speakers in their order.",
                "known_speaker_references",
            )
        return found

    def check_engine(self, request: TranscriptionRequest, engine: str) -> None:
        """Refuse a request for another engine than the one that its model has.

        Raises:
            InvalidParameter: `unsupported_value`, with the engines that there are.
        """
        if request.transcription in {"", engine}:
            return
        raise _unsupported(
            f"The model '{request.model}' is transcribed by the engine '{engine}', not by "
            f"'{request.transcription[:80]}'; installed are: {_listed(self.engines)}. Send the "
            "engine's own name or none, or a model that another engine has.",
            "transcription",
        )

    def demanding(self, request: TranscriptionRequest, able: Capabilities) -> TranscriptionRequest:
        """Return the request as the engine gets it: with what the stages need of it.

        Raises:
            InvalidParameter: the alignment needs times of words, and the engine stamps none.
        """
        if request.alignment == AUTO_ALIGNMENT:
            can_align = able.word_timestamps and ENGINE_ALIGNMENT in self.alignments
            request = replace(request, alignment=ENGINE_ALIGNMENT if can_align else "")
        alignment = self._alignment(request)
        needs_words = alignment is not None and alignment.needs_word_times
        if needs_words and not able.word_timestamps and not request.word_timestamps:
            raise _unsupported(
                f"The model '{request.model}' stamps no words with times, which the alignment "
                f"'{request.alignment}' needs. Send another alignment or none.",
                "alignment",
            )
        if request.speakers is not None and alignment is None:
            needs_words = able.word_timestamps
        return replace(request, word_timestamps=request.word_timestamps or needs_words)

    def has_work(self, request: TranscriptionRequest) -> bool:
        """Return whether something is done with the whole transcript."""
        return bool(request.alignment) or request.speakers is not None

    def needs_levels(self, request: TranscriptionRequest) -> bool:
        """Return whether the levels of the channels are to be measured."""
        diarization = self._diarization(request)
        return diarization is not None and diarization.needs_levels

    async def finish(
        self,
        request: TranscriptionRequest,
        segments: Sequence[Segment],
        audio: PreparedAudio,
        *,
        levels: Path | None,
        language: str | None,
    ) -> Sequence[Segment]:
        """Return the segments as the stages after recognition make them.

        Raises:
            RouterError: a stage failed.
        """
        if not any(segment.text.strip() for segment in segments):
            return segments
        known = StageAudio(
            path=audio.path,
            duration_s=audio.duration_s,
            channels=audio.channels,
            levels=levels,
        )
        if (alignment := self._alignment(request)) is not None:
            segments = await alignment.align(segments, known, language)
        diarization, wanted = self._diarization(request), request.speakers
        if diarization is not None and wanted is not None:
            turns = await diarization.turns(known, wanted)
            segments = await asyncio.to_thread(assign, segments, turns, wanted.names)
        return segments

    def _alignment(self, request: TranscriptionRequest) -> Alignment | None:
        if request.alignment in {"", AUTO_ALIGNMENT}:
            return None
        return _installed("alignment", request.alignment, self.alignments)

    def _diarization(self, request: TranscriptionRequest) -> Diarization | None:
        return None if request.speakers is None else self.diarization_for(request.speakers)


def _installed(stage: str, name: str, plugins: Mapping[str, Plugin]) -> Plugin:
    if (plugin := plugins.get(name)) is not None:
        return plugin
    raise _unsupported(
        f"No {stage} '{name[:80]}' is installed here; installed are: {_listed(plugins)}. Send one "
        "of these, or install another into the server's environment with pip: a Python package "
        f"that provides it (by an entry point in the group whisper_router.{stage}).",
        stage,
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "none"


def _unsupported(message: str, param: str) -> InvalidParameter:
    return InvalidParameter(message, param=param, code="unsupported_value")
