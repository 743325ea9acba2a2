"""Transcribes files with engines that this process starts, without any socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from whisper_router.api.formats import FORMATS
from whisper_router.api.forms import Granularity, ResponseFormat, ResponseOptions
from whisper_router.app import Router, build_router
from whisper_router.commands.models import Terminal, fetch
from whisper_router.domain import (
    AudioReady,
    Segment,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.pipeline.transcribe import MediaSource, collect
from whisper_router.settings import Settings


class LocalEngines:
    """The router's own pipeline, in this process."""

    def __init__(self, router: Router, request: TranscriptionRequest, response_format: str) -> None:
        self._router, self._request = router, request
        words = {Granularity.WORD} if request.word_timestamps else set()
        self._options = ResponseOptions(
            response_format=ResponseFormat(response_format),
            granularities=frozenset({Granularity.SEGMENT, *words}),
            logprobs=False,
            stream=False,
        )

    @classmethod
    @asynccontextmanager
    async def start(
        cls, settings: Settings, request: TranscriptionRequest, response_format: str
    ) -> AsyncIterator["LocalEngines"]:
        """Build the pipeline, fetch the model if need be, and stop the engines at the end.

        Raises:
            RouterError: there is no such model, or its file cannot be had.
        """
        async with build_router(settings) as router:
            spec = router.aliases.catalog.resolve(request.model)
            here = await asyncio.to_thread(router.store.present, spec.source)
            if here is None and settings.store.auto_download:
                screen = Console(stderr=True)
                await fetch(spec, router.store, Terminal(out=screen, err=screen))
            yield cls(router, replace(request, model=spec.alias), response_format)

    async def recognise(self, path: Path, report: Callable[..., None]) -> str:
        """Return the rendered transcript of `path`, reporting seconds of audio done."""
        events = self._router.transcriber.run(self._request, MediaSource(path=path))
        async with aclosing(events):
            transcript = await collect(_reported(events, report), self._request)
        return FORMATS[self._options.response_format].render(transcript, self._options).decode()


async def _reported(
    events: AsyncIterator[TranscriptEvent], report: Callable[..., None]
) -> AsyncIterator[TranscriptEvent]:
    total_s = 0.0
    async for event in events:
        if isinstance(event, AudioReady):
            total_s = event.duration_s
            report(done_s=0.0, total_s=total_s)
        elif isinstance(event, Segment):
            report(done_s=event.end_s, total_s=total_s)
        yield event
