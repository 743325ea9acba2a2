"""One request, from a spooled upload to transcript events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog

from whisper_router.audio.media import PcmFormat, PreparedAudio, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.domain import (
    SAMPLE_RATE_HZ,
    AudioReady,
    Chunk,
    Hole,
    LanguageDetected,
    Segment,
    SpeechDetection,
    Transcript,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.pipeline.chunk import ChunkBudget, ChunkRunner
from whisper_router.pipeline.demands import check_demands
from whisper_router.pipeline.plan import SampleRange, plan_chunks, whole
from whisper_router.pipeline.poison import Poison
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.pipeline.series import Series
from whisper_router.scheduling.dispatch import Dispatcher
from whisper_router.tasks import Tasks

log = structlog.get_logger(__name__)


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
        tasks: Tasks,
    ) -> None:
        self._media, self._spool, self._dispatcher_of = media, spool, dispatcher_of
        self._options, self._tasks = options, tasks
        self._poison = Poison()

    async def run(
        self, request: TranscriptionRequest, media: MediaSource, tracker: Tracker | None = None
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield `AudioReady`, then `LanguageDetected` (if there is speech), then segments in order.

        Closing the generator stops all work for the request and deletes its files. `tracker` is
        told how far it is.

        Raises:
            InvalidParameter: the model cannot do what is asked for.
            RouterError: the audio, the model or an engine failed.
        """
        tracker = tracker or Tracker(request.client.name)
        try:
            async with aclosing(self._run(request, media, tracker)) as events:
                async for event in events:
                    yield event
        except BaseException:  # a bug or a client that left, too
            tracker.update(stage=Stage.FAILED)  # a stream answers late errors as if it had ended
            raise

    async def _run(
        self, request: TranscriptionRequest, media: MediaSource, tracker: Tracker
    ) -> AsyncGenerator[TranscriptEvent, None]:
        dispatcher = self._dispatcher_of(request.model)
        check_demands(request, dispatcher.pool.capabilities)
        tracker.update(stage=Stage.DECODING)
        async with self._prepared(request, media) as audio:
            ranges = _plan(audio)
            speech_s = sum(piece.end - piece.start for piece in ranges) / SAMPLE_RATE_HZ
            tracker.update(stage=Stage.WAITING, duration_s=audio.duration_s, speech_s=speech_s)
            yield AudioReady(duration_s=audio.duration_s, speech_s=_speech_s(audio))
            log.info(
                "audio_prepared",
                duration_s=round(audio.duration_s, 3),
                speech_s=round(speech_s, 3),
                chunks=len(ranges),
            )
            runner = ChunkRunner(dispatcher, self._options.budget, self._poison)
            chunks = [Chunk(path=audio.path, start=item.start, end=item.end) for item in ranges]
            series = Series(
                runner, request, tracker, width=dispatcher.pool.capabilities.concurrency
            )
            async with aclosing(series.run(chunks, self._tasks)) as events:
                async for event in events:
                    yield event

    def _vad(self, request: TranscriptionRequest) -> VadOptions:
        return replace(self._options.vad, **_given(request.speech))

    @asynccontextmanager
    async def _prepared(
        self, request: TranscriptionRequest, media: MediaSource
    ) -> AsyncGenerator[PreparedAudio, None]:
        wanted = self._options.vad_by_default if request.vad is None else request.vad
        target = self._spool.new_path(".f32")
        try:
            yield await self._media.prepare(
                media.path, target, pcm=media.pcm, vad=self._vad(request) if wanted else None
            )
        finally:
            await asyncio.shield(asyncio.to_thread(target.unlink, missing_ok=True))


def _given(options: SpeechDetection) -> Mapping[str, float]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def _plan(audio: PreparedAudio) -> Sequence[SampleRange]:
    if audio.speech is None:
        return [whole(audio.duration_s)]
    spans = [(span.start_s, span.end_s) for span in audio.speech]
    return plan_chunks(spans, duration_s=audio.duration_s)


def _speech_s(audio: PreparedAudio) -> float | None:
    if audio.speech is None:
        return None
    return round(sum(span.end_s - span.start_s for span in audio.speech), 3)


async def collect(
    events: AsyncIterable[TranscriptEvent], request: TranscriptionRequest
) -> Transcript:
    """Read all events into one transcript."""
    language, duration_s = request.language, 0.0
    segments: list[Segment] = []
    holes: list[Hole] = []
    async for event in events:
        if isinstance(event, Segment):
            segments.append(event)
        elif isinstance(event, LanguageDetected):
            language = event.code
        elif isinstance(event, Hole):
            holes.append(event)
        else:
            duration_s = event.duration_s
    return Transcript(
        task=request.task,
        language=language,
        duration_s=duration_s,
        segments=tuple(segments),
        holes=tuple(holes),
    )
