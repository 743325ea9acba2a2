"""Transcribes files with engines that this process starts, without any socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from whisper_router.api.formats import FORMATS
from whisper_router.api.forms import Granularity, ResponseFormat, ResponseOptions
from whisper_router.app import Router, build_router
from whisper_router.commands.models import Terminal, fetch
from whisper_router.commands.transcribe_screen import State, View
from whisper_router.domain import Segment, TranscriptEvent, TranscriptionRequest
from whisper_router.pipeline.progress import Report, Tracker
from whisper_router.pipeline.transcribe import MediaSource, collect
from whisper_router.settings import Settings
from whisper_router.tasks import Tasks


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

    async def recognise(self, path: Path, view: View) -> str:
        """Return the rendered transcript of `path`, showing how far it is and what was heard."""
        tracker = Tracker(self._request.client.name)
        events = self._router.transcriber.run(self._request, MediaSource(path=path), tracker)
        async with _shown(tracker, view), aclosing(events):
            transcript = await collect(_spoken(events, view), self._request)
        return FORMATS[self._options.response_format].render(transcript, self._options).decode()


@asynccontextmanager
async def _shown(tracker: Tracker, view: View) -> AsyncIterator[None]:
    """Show what the tracker is told, until the block ends."""
    tasks = Tasks()
    tasks.spawn(_follow(tracker, view), name="show progress")
    try:
        yield
    finally:
        await tasks.close()


async def _follow(tracker: Tracker, view: View) -> None:
    while True:
        view.show(_state(tracker.report))
        await tracker.changed()


def _state(report: Report) -> State:
    return State(stage=report.stage.value, percent=report.percent or None)


async def _spoken(
    events: AsyncIterator[TranscriptEvent], view: View
) -> AsyncIterator[TranscriptEvent]:
    async for event in events:
        if isinstance(event, Segment):
            view.say(event.text)
        yield event
