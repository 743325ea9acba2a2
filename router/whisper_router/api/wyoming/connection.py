"""One client: reads its events, one after the other, and answers them."""

import asyncio
from contextlib import nullcontext
from typing import Final

import structlog
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe
from wyoming.ping import Ping, Pong

from whisper_router.api.context import new_request_id
from whisper_router.api.wyoming.dictation import Dictation
from whisper_router.api.wyoming.info import describe
from whisper_router.api.wyoming.order import parse_format, parse_transcribe
from whisper_router.api.wyoming.service import WyomingService
from whisper_router.api.wyoming.wire import BadEvent, Wire
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import RouterError
from whisper_router.tasks import Tasks

LOOK_S: Final = 0.5
"""How often to look whether a client is still there from whom nothing is read, because its session
has no room or it waits for its answer."""
DEFAULT_ORDER: Final = Transcribe().event()

log = structlog.get_logger(__name__)


class Connection:
    """Several dictations may follow each other; each is answered before the next one begins."""

    def __init__(self, wire: Wire, service: WyomingService) -> None:
        self._wire, self._service = wire, service
        self._tasks = Tasks()
        self._order: TranscriptionRequest | RouterError | None = None
        """What was asked for the audio that comes next, or why it was refused."""
        self._current: Dictation | None = None
        """Takes audio, or skips it: it has failed, or its time was over."""
        self._last: Dictation | None = None
        """All its audio has come. Its answer may be on its way."""
        self._holding: asyncio.Task[None] | None = None

    async def hold(self, stopping: asyncio.Event) -> None:
        """Return when the client is gone, or was cut off, or all is told after `stopping`."""
        listening = self._tasks.spawn(self._listen(), name="listen to a Wyoming client")
        looking = self._tasks.spawn(self._until_gone(), name="look after a Wyoming client")
        ending = self._tasks.spawn(
            self._stop_with_server(listening, stopping), name="end a connection with the server"
        )
        try:
            await asyncio.wait([listening, looking], return_when=asyncio.FIRST_COMPLETED)
            if stopping.is_set():
                await asyncio.wait([ending, looking], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._tasks.close_in_full()
            await self._wire.close()

    async def _listen(self) -> None:
        """Answer what comes until the client is gone or does not keep to the protocol."""
        try:
            while True:
                with self._current.patience() if self._current else nullcontext():
                    event = await self._wire.read()
                if event is None:
                    return
                await self._handle(event)
        except BadEvent as error:
            log.info("wyoming_event_malformed", reason=str(error))
            self._cancel()
            await self._wire.refuse(str(error), "invalid_event")
        except ConnectionError:
            log.info("wyoming_client_left")

    async def _handle(self, event: Event) -> None:
        """Answer one event. Those that are for other kinds of servers are dropped."""
        if self._last is not None and self._last.has_failed and self._last.ended.is_set():
            self._cancel()  # the next request has come: the connection stays
        if AudioChunk.is_type(event.type):
            form = parse_format(event)
            dictation = self._current or await self._begin()
            await dictation.hear(event.payload or b"", form)
        elif AudioStart.is_type(event.type):
            parse_format(event)
            await self._begin()
        elif AudioStop.is_type(event.type):
            await self._finish()
        elif Transcribe.is_type(event.type):
            await self._take_order(event)
        elif Describe.is_type(event.type):
            models = await self._service.models.speech_models()
            await self._wire.send(describe(self._service.about, models))
        elif Ping.is_type(event.type):
            text = event.data.get("text")
            await self._wire.send(Pong(text=text if isinstance(text, str) else None))

    async def _take_order(self, event: Event) -> None:
        """Note what is asked for; what cannot be done is answered before any audio."""
        if self._last is not None:
            await self._last.ended.wait()
        try:
            self._order = parse_transcribe(event, request_id=new_request_id())
            self._service.models.check(self._order.model)
        except RouterError as error:
            log.info("wyoming_request_refused", code=error.code, reason=str(error))
            self._order = error
            await self._wire.send(Error(text=str(error), code=error.code))
        if self._current is not None and not self._current.has_begun:
            await self._begin()  # with this order: its audio was announced before it

    async def _begin(self) -> Dictation:
        """Expect audio. What went on before without an end is given up."""
        if self._current is not None and self._holding is not None:
            self._holding.cancel()
            await asyncio.wait([self._holding])
        elif self._last is not None:
            await self._last.ended.wait()
            self._cancel()
        order = self._order
        if order is None:
            order = parse_transcribe(DEFAULT_ORDER, request_id=new_request_id())
        request = order if isinstance(order, TranscriptionRequest) else None
        self._current, self._last = Dictation(request, self._service, self._wire), None
        self._holding = self._tasks.spawn(self._current.hold(), name="answer a dictation")
        return self._current

    async def _finish(self) -> None:
        """Let the rest be told. What comes next has an order of its own."""
        dictation = self._current or await self._begin()
        dictation.stop()
        self._current, self._last, self._order = None, dictation, None

    def _cancel(self) -> None:
        if self._holding is not None:
            self._holding.cancel()

    async def _until_gone(self) -> None:
        while not self._wire.is_gone:  # noqa: ASYNC110 - nothing tells while nothing is read
            await asyncio.sleep(LOOK_S)

    async def _stop_with_server(
        self, listening: "asyncio.Task[None]", stopping: asyncio.Event
    ) -> None:
        """Make what was heard final when the server stops."""
        await stopping.wait()
        listening.cancel()
        await asyncio.wait([listening])
        dictation = self._current or self._last
        if dictation is not None:
            dictation.stop()
            await dictation.ended.wait()
