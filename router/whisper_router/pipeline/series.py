"""The chunks of one request: which run at once, in which language, and what a lost one leaves."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from whisper_router.domain import (
    SAMPLE_RATE_HZ,
    Chunk,
    Hole,
    LanguageDetected,
    OnError,
    Segment,
    TranscriptionRequest,
)
from whisper_router.engine_api import Capabilities
from whisper_router.errors import AudioRejected, EngineTimeout
from whisper_router.pipeline.chunk import ChunkRunner
from whisper_router.pipeline.chunk_memory import NO_MEMORY, ChunkMemory
from whisper_router.pipeline.context import CarriedText
from whisper_router.pipeline.in_order import Source, in_order
from whisper_router.pipeline.join import Joint, heard_before, shared_from_s
from whisper_router.pipeline.plan import PlannedChunk
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.tasks import Tasks

HOLE_TEXT = " [not transcribed]"

log = structlog.get_logger(__name__)

ChunkEvent = LanguageDetected | Segment | Hole


class Series:
    """Runs a request's chunks, as many at once as there are workers, and yields events in order.

    No more than the request allows run at once. They run one after another when each is to know the
    text before it.
    """

    def __init__(
        self,
        runner: ChunkRunner,
        request: TranscriptionRequest,
        tracker: Tracker,
        *,
        capabilities: Capabilities,
        memory: ChunkMemory = NO_MEMORY,
    ) -> None:
        """`memory` knows chunks of the same request that need not be run again."""
        self._runner, self._request, self._tracker = runner, request, tracker
        self._memory = memory
        self._capabilities = capabilities
        width, wanted = capabilities.concurrency, request.carry_context
        most = request.max_parallel or width
        carries = width == 1 if wanted is None else wanted
        self._context = CarriedText() if carries else None
        self._width = 1 if carries else min(width, most)
        self._done_s: dict[int, float] = {}
        self._language = _SharedLanguage(
            request.language, is_settled=request.mixed_languages or request.language is not None
        )

    async def run(
        self, chunks: AsyncGenerator[PlannedChunk, None], path: Path, tasks: Tasks
    ) -> AsyncGenerator[ChunkEvent, None]:
        """Yield the language first, then segments, and holes where the request allows them.

        `path` is the file with the chunks' audio. Raises what `chunks` raises, too.
        """
        joint, announced = Joint(), False
        sources = self._sources(chunks, path)
        async with aclosing(in_order(sources, width=self._width, tasks=tasks)) as events:
            async for chunk, event in events:
                if not isinstance(event, LanguageDetected):
                    for settled in joint.take(chunk, event):
                        yield self._as_asked(settled)
                elif not announced:
                    announced = True
                    yield event
        for settled in joint.end():
            yield self._as_asked(settled)

    async def _sources(
        self, chunks: AsyncGenerator[PlannedChunk, None], path: Path
    ) -> AsyncGenerator[Source[tuple[PlannedChunk, ChunkEvent]], None]:
        async with aclosing(chunks) as known:
            async for planned in known:
                yield partial(self._tagged, planned, path)

    async def _tagged(
        self, planned: PlannedChunk, path: Path
    ) -> AsyncGenerator[tuple[PlannedChunk, ChunkEvent], None]:
        async with aclosing(self._chunk(planned, path)) as events:
            async for event in events:
                yield planned, event

    def _as_asked(self, event: Segment | Hole) -> Segment | Hole:
        if isinstance(event, Segment) and event.words and not self._request.word_timestamps:
            return replace(event, words=())
        return event

    async def _chunk(self, planned: PlannedChunk, path: Path) -> AsyncGenerator[ChunkEvent, None]:
        chunk = Chunk(path=path, start=planned.start, end=planned.end)
        request = await self._adapted(planned)
        segments: list[Segment] = []
        language: str | None = None
        try:
            async with aclosing(self._heard(planned, chunk, request)) as events:
                async for event in events:
                    if isinstance(event, LanguageDetected):
                        self._language.settle(event.code)
                        language = event.code if request.mixed_languages else None
                        yield event
                    else:
                        segments.append(replace(event, language=language))
                        self._report(planned, event.end_s - chunk.start_s)
                        yield segments[-1]
        except (AudioRejected, EngineTimeout) as error:
            if request.on_error is OnError.FAIL:
                raise
            log.warning("chunk_skipped", alias=request.model, reason=str(error))
            for left in _hole(planned, segments, str(error)):
                yield left
        finally:
            self._language.end_search(heard=bool(segments))
        if self._context is not None:
            own = heard_before(segments, shared_from_s(planned)) if planned.is_cut else segments
            self._context.add(own)
        self._report(planned, planned.duration_s)

    async def _heard(
        self, planned: PlannedChunk, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncGenerator[LanguageDetected | Segment, None]:
        """Yield what is remembered of a chunk, or run it and remember that."""
        known = await self._memory.recall(planned)
        if known is not None:
            for event in known:
                yield event
            return
        heard: list[LanguageDetected | Segment] = []
        async with aclosing(self._runner.run(chunk, request)) as events:
            async for event in events:
                heard.append(event)
                yield event
        await self._memory.keep(planned, heard)

    async def _adapted(self, planned: PlannedChunk) -> TranscriptionRequest:
        """Return the request as the next chunk needs it.

        The language is that of the first chunk with speech: detection on every chunk would let a
        short one, with a name or a number in it, flip the language in the middle of a text.
        """
        request = replace(self._request, language=await self._language.get())
        if planned.overlap or planned.is_cut:  # joined at a word
            can_time = self._capabilities.word_timestamps
            request = replace(request, word_timestamps=request.word_timestamps or can_time)
        if self._context is not None:
            request = replace(request, prompt=self._context.prompt(request.prompt))
        return request

    def _report(self, planned: PlannedChunk, done_s: float) -> None:
        """Note how much of a chunk is done; what two chunks share counts for the first."""
        self._done_s[planned.start] = max(0.0, done_s - planned.overlap_s)
        self._tracker.update(stage=Stage.TRANSCRIBING, done_s=sum(self._done_s.values()))


class _SharedLanguage:
    """The language of a request's chunks: one of them looks for it while the others wait."""

    def __init__(self, code: str | None, *, is_settled: bool) -> None:
        self._code, self._is_settled = code, is_settled
        self._search = asyncio.Lock()

    async def get(self) -> str | None:
        """Return the language; None: detect it. The first to get None is to call `end_search`."""
        await self._search.acquire()
        if self._is_settled:
            self._search.release()
        return self._code

    def settle(self, code: str | None) -> None:
        """Tell all others; only the first word counts."""
        if not self._is_settled:
            self._code, self._is_settled = code, True
            self._search.release()

    def end_search(self, *, heard: bool) -> None:
        """Let the next one look, unless this one found it or its engine tells no languages."""
        if heard:
            self.settle(None)
        elif not self._is_settled:
            self._search.release()


def _hole(planned: PlannedChunk, heard: Sequence[Segment], reason: str) -> tuple[Hole, Segment]:
    """Return the hole, and a segment that marks it in every format.

    What the next chunk has as well is no hole.
    """
    start_s = heard[-1].end_s if heard else planned.start / SAMPLE_RATE_HZ
    end_s = shared_from_s(planned) if planned.is_cut else planned.end / SAMPLE_RATE_HZ
    end_s = max(start_s, end_s)
    return (
        Hole(start_s=start_s, end_s=end_s, reason=reason),
        Segment(start_s=start_s, end_s=end_s, text=HOLE_TEXT, seek_s=start_s),
    )
