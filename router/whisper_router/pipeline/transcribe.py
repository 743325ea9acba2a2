"""One request, from a spooled upload to transcript events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import structlog

from whisper_router.audio.media import PcmFormat, PreparedAudio, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.domain import (
    AudioReady,
    Chunk,
    LanguageDetected,
    Segment,
    Transcript,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.pipeline.chunk import ChunkBudget, ChunkRunner
from whisper_router.pipeline.demands import check_demands
from whisper_router.pipeline.in_order import in_order
from whisper_router.pipeline.plan import SampleRange, plan_chunks, whole
from whisper_router.supervisor.pool import ModelPool
from whisper_router.tasks import Tasks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaSource:
    """An upload on disk. `pcm` is set when it is raw samples without any container."""

    path: Path
    pcm: PcmFormat | None = None


class Transcriber:
    """Decodes, finds speech, runs the chunks and puts their results in order."""

    def __init__(
        self,
        *,
        media: MediaPool,
        spool: Spool,
        pool_of: Callable[[str], ModelPool],
        vad: VadOptions,
        vad_by_default: bool,
        budget: ChunkBudget,
        tasks: Tasks,
    ) -> None:
        self._media, self._spool, self._pool_of = media, spool, pool_of
        self._vad, self._vad_by_default = vad, vad_by_default
        self._budget, self._tasks = budget, tasks

    async def run(
        self, request: TranscriptionRequest, media: MediaSource
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield `AudioReady`, then `LanguageDetected` (if there is speech), then segments in order.

        Closing the generator stops all work for the request and deletes its files.

        Raises:
            InvalidParameter: the model cannot do what is asked for.
            RouterError: the audio, the model or an engine failed.
        """
        pool = self._pool_of(request.model)
        check_demands(request, pool.capabilities)
        async with self._prepared(request, media) as audio:
            yield AudioReady(duration_s=audio.duration_s, speech_s=_speech_s(audio))
            ranges = _plan(audio)
            log.info(
                "audio_prepared",
                duration_s=round(audio.duration_s, 3),
                speech_s=_speech_s(audio),
                chunks=len(ranges),
            )
            async with aclosing(self._chunks(pool, request, audio.path, ranges)) as events:
                async for event in events:
                    yield event

    async def _chunks(
        self,
        pool: ModelPool,
        request: TranscriptionRequest,
        path: Path,
        ranges: Sequence[SampleRange],
    ) -> AsyncGenerator[LanguageDetected | Segment, None]:
        language: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        if request.language is not None:
            language.set_result(request.language)
        runner = ChunkRunner(pool, self._budget)
        chunks = [Chunk(path=path, start=piece.start, end=piece.end) for piece in ranges]
        sources = [
            partial(_run_chunk, runner, chunk, request, language, first=number == 0)
            for number, chunk in enumerate(chunks)
        ]
        width = pool.capabilities.concurrency
        async with aclosing(in_order(sources, width=width, tasks=self._tasks)) as events:
            async for event in events:
                yield event

    @asynccontextmanager
    async def _prepared(
        self, request: TranscriptionRequest, media: MediaSource
    ) -> AsyncGenerator[PreparedAudio, None]:
        wanted = self._vad_by_default if request.vad is None else request.vad
        target = self._spool.new_path(".f32")
        try:
            yield await self._media.prepare(
                media.path, target, pcm=media.pcm, vad=self._vad if wanted else None
            )
        finally:
            await asyncio.shield(asyncio.to_thread(target.unlink, missing_ok=True))


async def _run_chunk(
    runner: ChunkRunner,
    chunk: Chunk,
    request: TranscriptionRequest,
    language: "asyncio.Future[str | None]",
    *,
    first: bool,
) -> AsyncGenerator[LanguageDetected | Segment, None]:
    """Run one chunk in the language of the request's first chunk.

    Detection on every chunk would let a short one, with a name or a number in it, flip the
    language in the middle of a text.
    """
    if not first:
        request = replace(request, language=await language)
    async with aclosing(runner.run(chunk, request)) as events:
        async for event in events:
            if isinstance(event, Segment):
                yield event
            elif first:
                if not language.done():
                    language.set_result(event.code)
                yield event
    if first and not language.done():  # an engine need not tell; the others wait for it
        language.set_result(None)


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
    async for event in events:
        if isinstance(event, Segment):
            segments.append(event)
        elif isinstance(event, LanguageDetected):
            language = event.code
        else:
            duration_s = event.duration_s
    return Transcript(
        task=request.task, language=language, duration_s=duration_s, segments=tuple(segments)
    )
