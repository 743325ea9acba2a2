"""One exchange: audio goes into a live session, and its text comes back."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars
from wyoming.asr import Transcribe
from wyoming.error import Error

from whisper_router.api.wyoming.service import WyomingService
from whisper_router.api.wyoming.text import StreamedText
from whisper_router.api.wyoming.wire import Wire
from whisper_router.audio.pcm import PcmFormat, PcmReader
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import RouterError
from whisper_router.live.events import Failed
from whisper_router.pipeline.activity import Kind, Look, Origin
from whisper_router.pipeline.live import LiveRun
from whisper_router.tasks import Tasks

FAREWELL_S: Final = 2.0
"""How long a client that got an error in the place of a transcript may take for its next request.
Home Assistant takes no notice of errors: it waits for a transcript or the end of the connection."""
PROTOCOL: Final = "WYOMING"
"""Stands where requests of HTTP have their method."""

log = structlog.get_logger(__name__)


class Dictation:
    """What is said between `audio-start` and `audio-stop`.

    The connection lets it hear; a task, `hold`, has the session and answers. Nothing is loaded and
    nobody counted before the first sample.
    """

    def __init__(
        self, request: TranscriptionRequest | None, service: WyomingService, wire: Wire
    ) -> None:
        """`request` None: it was refused; the audio is skipped."""
        self._request, self._service, self._wire = request, service, wire
        self._left_s = service.limits.max_audio_s
        self._reader: PcmReader | None = None
        self._run: LiveRun | None = None
        self._has_begun, self._is_open, self._is_over = (asyncio.Event() for _ in range(3))
        self.has_failed = request is None
        self.ended = asyncio.Event()
        """Is set once all is told that there is to tell."""

    @property
    def has_begun(self) -> bool:
        """Whether samples have come, or will not come any more."""
        return self._has_begun.is_set()

    def stop(self) -> None:
        """Hear nothing more, and tell the rest."""
        self._is_over.set()
        self._has_begun.set()

    @contextmanager
    def patience(self) -> Iterator[None]:
        """While the block waits for the client, let its time run out: then the audio is over."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        timer = loop.call_later(max(self._left_s, 0.0), self.stop)
        try:
            yield
        finally:
            timer.cancel()
            self._left_s -= loop.time() - began_s

    async def hear(self, data: bytes, form: PcmFormat) -> None:
        """Hear samples; waits while there is no room for them. After the end they are skipped."""
        if not data or self.has_failed or self._is_over.is_set():
            return
        self._has_begun.set()
        await self._is_open.wait()
        if self._run is None:
            return
        if self._reader is None or self._reader.form != form:
            await self._flush(self._run)
            self._reader = PcmReader(form)
        for samples in self._reader.read(data):
            if self._run.duration_s >= self._service.limits.max_audio_s:
                self.stop()
            if self._is_over.is_set():
                return
            await self._run.hear(samples)

    async def hold(self) -> None:
        """Answer; after an error wait for the next request, but not for long."""
        request_id = self._request.request_id if self._request else ""
        try:
            with bound_contextvars(request_id=request_id):
                await self._answer()
        except ConnectionError:
            return
        except Exception:  # a bug: who waits for an answer must not wait for ever
            self._wire.hang_up()
            raise
        finally:
            self._is_open.set()  # nobody waits for a session that there will not be
            self.ended.set()
        if self.has_failed:
            await self._is_over.wait()
            await asyncio.sleep(FAREWELL_S)
            self._wire.hang_up()

    async def _answer(self) -> None:
        if self._request is None:
            return
        text = StreamedText(self._request.language)
        await self._has_begun.wait()
        try:
            if not self._is_over.is_set():
                await self._recognise(self._request, text)
        except RouterError as error:
            log.warning("wyoming_session_failed", code=error.code, reason=str(error))
            self.has_failed = True
            await self._wire.send(Error(text=str(error), code=error.code))
            return
        for item in text.end():  # who sees this may begin another session: this one has ended
            await self._wire.send(item)

    async def _recognise(self, request: TranscriptionRequest, text: StreamedText) -> None:
        models, tasks = self._service.models, Tasks()
        with self._service.activity.note(_origin(request)) as activity:
            activity.look = lambda: Look(model=request.model, audio_s=self._heard_s)
            async with self._service.live.open(request) as run:
                with models.in_use(request.model, None):
                    self._run = run
                    self._is_open.set()
                    try:
                        tasks.spawn(self._end(run), name="end a dictation")
                        async with aclosing(run.events()) as events:
                            async for event in events:
                                if isinstance(event, Failed):
                                    raise event.error
                                for item in text.take(event):
                                    await self._wire.send(item)
                    finally:
                        await tasks.close()

    @property
    def _heard_s(self) -> float:
        return 0.0 if self._run is None else self._run.duration_s

    async def _end(self, run: LiveRun) -> None:
        await self._is_over.wait()
        await self._flush(run)
        await run.end()

    async def _flush(self, run: LiveRun) -> None:
        """Let the session hear what is left of the audio's last format."""
        reader, self._reader = self._reader, None
        if reader is not None and len(rest := reader.end()):
            await run.hear(rest)


def _origin(request: TranscriptionRequest) -> Origin:
    return Origin(
        id=request.request_id,
        kind=Kind.LIVE,
        owner=request.client.name,
        method=PROTOCOL,
        path=Transcribe().event().type,
    )
