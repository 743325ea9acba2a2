"""One request, from a spooled upload to transcript events."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from whisper_router import tracing
from whisper_router.audio.media import PcmFormat, PreparedAudio, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.domain import (
    AudioFound,
    AudioReady,
    Hole,
    LanguageDetected,
    Segment,
    SpeechDetection,
    Transcript,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.metrics import (
    AUDIO_SECONDS,
    REALTIME_FACTOR,
    SPEECH_SECONDS,
    TRANSCRIPTIONS,
)
from whisper_router.pipeline.chunk import ChunkBudget, ChunkRunner
from whisper_router.pipeline.chunk_memory import NO_MEMORY, ChunkMemory
from whisper_router.pipeline.demands import check_demands
from whisper_router.pipeline.plan import Planner
from whisper_router.pipeline.poison import Poison
from whisper_router.pipeline.preparation import Preparation
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.pipeline.series import Series
from whisper_router.pipeline.stages import Stages
from whisper_router.scheduling.dispatch import Dispatcher
from whisper_router.tasks import Tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSource:
    """An upload on disk. `pcm` is set when it is raw samples without any container."""

    path: Path
    pcm: PcmFormat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOptions:
    """How chunks run unless a request says otherwise."""

    vad: VadOptions
    vad_by_default: bool
    max_silence_s: float
    budget: ChunkBudget


class Transcriber:
    """Decodes, finds speech, runs the chunks and puts their results in order."""

    def __init__(
        self,
        *,
        media: MediaPool,
        spool: Spool,
        dispatcher_of: Callable[[str], Dispatcher],
        options: ChunkOptions,
        stages: Stages,
        tasks: Tasks,
    ) -> None:
        self._media, self._spool, self._dispatcher_of = media, spool, dispatcher_of
        self._options, self._stages, self._tasks = options, stages, tasks
        self._poison = Poison()

    async def run(
        self,
        request: TranscriptionRequest,
        media: MediaSource,
        tracker: Tracker | None = None,
        memory: ChunkMemory = NO_MEMORY,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield `AudioFound`, `LanguageDetected` (if there is speech), segments, then `AudioReady`.

        Segments come as soon as they are known; those of a request that stages after recognition
        work on, at the end.

        Closing the generator stops all work for the request and deletes its files. `tracker` is
        told how far it is. Chunks that `memory` knows are not run.

        Raises:
            InvalidParameter: the model cannot do what is asked for.
            RouterError: the audio, the model or an engine failed.
        """
        tracker = tracker or Tracker(request.client.name)
        alias, outcome = self._dispatcher_of(request.model).pool.alias, "failed"
        began_s = time.monotonic()
        try:
            async with aclosing(self._run(request, media, tracker, memory)) as events:
                async for event in events:
                    if isinstance(event, AudioReady):
                        _measure(alias, event, time.monotonic() - began_s)
                        tracing.current().set(alias=alias, audio_seconds=event.duration_s)
                    yield event
            outcome = "done"
        except (GeneratorExit, asyncio.CancelledError):
            outcome = "left"
            raise
        finally:
            if outcome != "done":  # a stream answers late errors as if it had ended
                tracker.update(stage=Stage.FAILED)
            TRANSCRIPTIONS.labels(alias, outcome).inc()

    def check(self, request: TranscriptionRequest) -> None:
        """Refuse what cannot be done with any audio.

        Raises:
            InvalidParameter: the model or the installed stages cannot do what is asked for.
            ModelNotFound: there is no such model.
        """
        self._demanding(request)

    def _demanding(self, request: TranscriptionRequest) -> TranscriptionRequest:
        """Return the request as the engine gets it. Raises as `check`."""
        self._stages.check(request)
        pool = self._dispatcher_of(request.model).pool
        self._stages.check_engine(request, pool.spec.engine.name)
        request = self._stages.demanding(request, pool.capabilities)
        check_demands(request, pool.capabilities)
        return request

    async def _run(
        self,
        request: TranscriptionRequest,
        media: MediaSource,
        tracker: Tracker,
        memory: ChunkMemory,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        dispatcher = self._dispatcher_of(request.model)
        capabilities = dispatcher.pool.capabilities
        request = self._demanding(request)
        tracker.update(stage=Stage.DECODING)
        began = partial(tracker.update, stage=Stage.TRANSCRIBING)
        runner = ChunkRunner(dispatcher, self._options.budget, self._poison, began=began)
        series = Series(runner, request, tracker, capabilities=capabilities, memory=memory)
        async with self._prepared(request, media, tracker) as (preparation, path):
            await preparation.begun()
            yield AudioFound()
            recognised: AsyncGenerator[TranscriptEvent, None]
            recognised = series.run(preparation.chunks(), path, self._tasks)
            if self._stages.has_work(request):
                recognised = self._finished(recognised, request, preparation)
            async with aclosing(recognised) as events:
                async for event in events:
                    yield event
            audio = preparation.audio
        yield AudioReady(duration_s=audio.duration_s, speech_s=_speech_s(audio))

    async def _finished(
        self,
        events: AsyncGenerator[TranscriptEvent, None],
        request: TranscriptionRequest,
        preparation: Preparation,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield the events as they come, but the segments once the other stages had them all."""
        segments, language = list[Segment](), request.language
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Segment):
                    segments.append(event)
                    continue
                if isinstance(event, LanguageDetected):
                    language = event.code
                yield event
        audio = preparation.audio
        levels = levels_path(audio.path) if self._stages.needs_levels(request) else None
        for segment in await self._stages.finish(
            request, segments, audio, levels=levels, language=language
        ):
            yield segment

    def _vad(self, request: TranscriptionRequest) -> VadOptions:
        """Return how to look for speech; a request cannot have long silences taken for speech."""
        vad, longest_s = self._options.vad, self._options.max_silence_s
        vad = replace(vad, **_given(request.speech))
        return replace(
            vad,
            min_silence_s=min(vad.min_silence_s, longest_s),
            pad_s=min(vad.pad_s, longest_s / 2),
            # who names a threshold means it
            min_contrast_db=vad.min_contrast_db if request.speech.threshold is None else 0.0,
        )

    @asynccontextmanager
    async def _prepared(
        self, request: TranscriptionRequest, media: MediaSource, tracker: Tracker
    ) -> AsyncGenerator[tuple[Preparation, Path], None]:
        """Begin to decode, and delete the decoded audio at the end."""
        wants_vad = self._options.vad_by_default if request.vad is None else request.vad
        planner = Planner(max_silence_s=self._options.max_silence_s) if wants_vad else None
        preparation = Preparation(planner, tracker)
        target = self._spool.new_path(".f32")
        prepare = partial(
            _traced(self._media.prepare),
            media.path,
            target,
            pcm=media.pcm,
            vad=self._vad(request) if wants_vad else None,
            levels=levels_path(target) if self._stages.needs_levels(request) else None,
        )
        preparing = self._tasks.spawn(preparation.run(prepare), name="prepare audio")
        try:
            yield preparation, target
        finally:
            preparing.cancel()
            clearing = self._tasks.spawn(_clear(preparing, target), name="clear audio")
            await asyncio.shield(clearing)  # a second cancellation must not leave the file behind


def _traced(
    prepare: Callable[..., Awaitable[PreparedAudio]],
) -> Callable[..., Awaitable[PreparedAudio]]:
    """Return `prepare` as a part of the request's trace."""

    async def traced(*arguments: Any, **named: Any) -> PreparedAudio:
        with tracing.begin("decode") as span:
            audio = await prepare(*arguments, **named)
            span.set(audio_seconds=audio.duration_s, speech_seconds=_speech_s(audio))
            return audio

    return traced


async def _clear(preparing: "asyncio.Task[None]", target: Path) -> None:
    await asyncio.gather(preparing, return_exceptions=True)
    for path in (target, levels_path(target)):
        await asyncio.to_thread(path.unlink, missing_ok=True)


def levels_path(audio: Path) -> Path:
    """Return where the levels of decoded audio are, if they are measured."""
    return audio.with_suffix(".levels")


def _measure(alias: str, audio: AudioReady, took_s: float) -> None:
    AUDIO_SECONDS.labels(alias).inc(audio.duration_s)
    if audio.speech_s is not None:
        SPEECH_SECONDS.labels(alias).inc(audio.speech_s)
    REALTIME_FACTOR.labels(alias).observe(took_s / max(audio.duration_s, 0.1))


def _given(options: SpeechDetection) -> Mapping[str, float]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def _speech_s(audio: PreparedAudio) -> float | None:
    if audio.speech is None:
        return None
    return round(sum(span.end_s - span.start_s for span in audio.speech), 3)


async def collect(
    events: AsyncIterable[TranscriptEvent], request: TranscriptionRequest
) -> Transcript:
    """Read all events into one transcript."""
    return transcript_of([event async for event in events], request)


def transcript_of(events: Iterable[TranscriptEvent], request: TranscriptionRequest) -> Transcript:
    """Return what all events of a request amount to."""
    language, duration_s = request.language, 0.0
    segments: list[Segment] = []
    holes: list[Hole] = []
    for event in events:
        if isinstance(event, Segment):
            segments.append(event)
        elif isinstance(event, LanguageDetected):
            language = event.code
        elif isinstance(event, Hole):
            holes.append(event)
        elif isinstance(event, AudioReady):
            duration_s = event.duration_s
    return Transcript(
        task=request.task,
        language=language,
        duration_s=duration_s,
        segments=tuple(segments),
        holes=tuple(holes),
    )
