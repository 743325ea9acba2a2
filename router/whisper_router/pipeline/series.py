"""The chunks of one request: which run at once, in which language, and what a lost one leaves."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import structlog

from whisper_router.domain import (
    Chunk,
    Hole,
    LanguageDetected,
    OnError,
    Segment,
    TranscriptionRequest,
)
from whisper_router.errors import AudioRejected, EngineTimeout
from whisper_router.pipeline.chunk import ChunkRunner
from whisper_router.pipeline.context import CarriedText
from whisper_router.pipeline.in_order import in_order
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.tasks import Tasks

HOLE_TEXT = " [not transcribed]"

log = structlog.get_logger(__name__)

ChunkEvent = LanguageDetected | Segment | Hole


class Series:
    """Runs a request's chunks, up to `width` at once, and yields their events in order.

    Chunks run one after another when each is to know the text before it.
    """

    def __init__(
        self, runner: ChunkRunner, request: TranscriptionRequest, tracker: Tracker, *, width: int
    ) -> None:
        self._runner, self._request, self._tracker = runner, request, tracker
        wanted = request.carry_context
        carries = width == 1 if wanted is None else wanted
        self._context = CarriedText() if carries else None
        self._width = 1 if carries else width
        self._done_s: dict[int, float] = {}
        self._language = _SharedLanguage(
            request.language, is_settled=request.mixed_languages or request.language is not None
        )

    async def run(self, chunks: Sequence[Chunk], tasks: Tasks) -> AsyncGenerator[ChunkEvent, None]:
        """Yield the language first, then segments, and holes where the request allows them."""
        sources = [partial(self._chunk, chunk) for chunk in chunks]
        announced = False
        async with aclosing(in_order(sources, width=self._width, tasks=tasks)) as events:
            async for event in events:
                if isinstance(event, LanguageDetected):
                    if announced:
                        continue
                    announced = True
                yield event

    async def _chunk(self, chunk: Chunk) -> AsyncGenerator[ChunkEvent, None]:
        request = await self._adapted()
        segments: list[Segment] = []
        language: str | None = None
        try:
            async with aclosing(self._runner.run(chunk, request)) as events:
                async for event in events:
                    if isinstance(event, LanguageDetected):
                        self._language.settle(event.code)
                        language = event.code if request.mixed_languages else None
                        yield event
                    else:
                        segments.append(replace(event, language=language))
                        self._report(chunk, event.end_s - chunk.start_s)
                        yield segments[-1]
        except (AudioRejected, EngineTimeout) as error:
            if request.on_error is OnError.FAIL:
                raise
            log.warning("chunk_skipped", alias=request.model, reason=str(error))
            for left in _hole(chunk, segments, str(error)):
                yield left
        finally:
            self._language.end_search(heard=bool(segments))
        if self._context is not None:
            self._context.add(segments)
        self._report(chunk, chunk.duration_s)

    async def _adapted(self) -> TranscriptionRequest:
        """Return the request as the next chunk needs it.

        The language is that of the first chunk with speech: detection on every chunk would let a
        short one, with a name or a number in it, flip the language in the middle of a text.
        """
        request = replace(self._request, language=await self._language.get())
        if self._context is not None:
            request = replace(request, prompt=self._context.prompt(request.prompt))
        return request

    def _report(self, chunk: Chunk, done_s: float) -> None:
        self._done_s[chunk.start] = done_s
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


def _hole(chunk: Chunk, heard: Sequence[Segment], reason: str) -> tuple[Hole, Segment]:
    """Return the hole, and a segment that marks it in every format."""
    start_s = heard[-1].end_s if heard else chunk.start_s
    end_s = max(start_s, chunk.start_s + chunk.duration_s)
    return (
        Hole(start_s=start_s, end_s=end_s, reason=reason),
        Segment(start_s=start_s, end_s=end_s, text=HOLE_TEXT, seek_s=start_s),
    )
