"""`WS /v1/audio/transcriptions`, as faster-whisper-server had it up to 0.7.

Raw 16 kHz mono s16le comes in binary messages; after each change all confirmed text goes out. The
session is over when nothing comes any more, when nobody speaks, or (ours) at an empty message.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, suppress

import structlog
from aiohttp import WSCloseCode, WSMessage, WSMsgType, hdrs, web

from whisper_router.api.auth import client_of, refuse_foreign_pages
from whisper_router.api.closing import CLOSE_S, close_code, close_reason, hang_up
from whisper_router.api.context import REQUEST_ID
from whisper_router.api.deps import DEPS, STOPPING, LiveLimits
from whisper_router.api.inbox import Inbox
from whisper_router.api.live_order import LiveOrder, Patience, parse_live
from whisper_router.api.live_rights import lost_right
from whisper_router.api.live_text import LiveText
from whisper_router.api.metering import live_meter
from whisper_router.api.model_access import check_model
from whisper_router.api.noting import last_cancellable, note_failure, noting_live
from whisper_router.audio.pcm import PcmFormat, PcmReader
from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import IncorrectApiKey, LimitReached, RequestCancelled, RouterError
from whisper_router.live.events import Failed
from whisper_router.pipeline.activity import Look
from whisper_router.pipeline.live import LiveRun
from whisper_router.tasks import Tasks

MAX_MESSAGE_BYTES = 4 << 20
"""Two minutes of audio; more in one message is closed with 1009."""
SAMPLES = PcmFormat(rate_hz=SAMPLE_RATE_HZ, width=2, channels=1)
FIRST_DATA_S = 10.0
"""How long the first audio may take: a user is asked whether the microphone may be used."""
LAST_LOOK_S = 0.05
"""How long it takes at most to read what has come, when the time for it to come is over."""
INACTIVITY_WINDOW_S = 5.0
"""So much audio is heard before silence ends a session (as INACTIVITY_WINDOW_SECONDS there)."""

log = structlog.get_logger(__name__)


def routes() -> Sequence[web.RouteDef]:
    """Return the route, with and without `/v1`."""
    return [
        web.get(f"{prefix}/audio/transcriptions", transcribe_live, allow_head=False)
        for prefix in ("/v1", "")
    ]


async def transcribe_live(request: web.Request) -> web.StreamResponse:
    """GET /v1/audio/transcriptions with `Upgrade: websocket`.

    What is wrong with the request is answered as HTTP, before any audio.
    """
    deps = request.app[DEPS]
    limits = deps.live_limits
    socket = web.WebSocketResponse(
        compress=False, autoping=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_S
    )
    if not socket.can_prepare(request):
        raise web.HTTPMethodNotAllowed(hdrs.METH_GET, [hdrs.METH_POST])
    refuse_foreign_pages(request)
    order = parse_live(
        [(name, value) for name, value in request.query.items() if name != "api_key"],
        patience=Patience(no_data_s=limits.no_data_s, inactivity_s=limits.inactivity_s),
        request_id=request[REQUEST_ID],
        client=client_of(request),
    )
    model, conversation = order.request.model, None
    with noting_live(request, lambda: Look(model=model, audio_s=_heard_s(conversation))):
        check_model(request, model)
        try:
            with last_cancellable(request):
                async with deps.live.open(order.request) as run:
                    with deps.models.in_use(model, None):
                        await socket.prepare(request)
                        conversation = _Conversation(request, socket, run, order)
                        await conversation.hold()
        except RequestCancelled as error:
            if conversation is None:
                raise
            conversation.note(error)
        await conversation.close()  # who sees the end of a session may begin another one
    return socket


def _heard_s(conversation: "_Conversation | None") -> float:
    return 0.0 if conversation is None else conversation.heard_s


class _Conversation:
    """One WebSocket: a task listens to the client, the handler tells what was heard."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, run: LiveRun, order: LiveOrder
    ) -> None:
        self._request, self._socket, self._run, self._order = request, socket, run, order
        self._limits: LiveLimits = request.app[DEPS].live_limits
        self._inbox, self._meter = Inbox(socket), live_meter(request)
        self._reader = PcmReader(SAMPLES)
        self._heard_any = False
        self._code, self._reason = WSCloseCode.OK, ""

    @property
    def heard_s(self) -> float:
        """How many seconds of audio the client has sent."""
        return self._run.duration_s

    def note(self, error: RouterError) -> None:
        """Note what the session ends with."""
        log.warning("live_session_failed", code=error.code, reason=str(error))
        self._end_with(error)

    def _end_with(self, error: RouterError) -> None:
        note_failure(self._request, error)
        self._code, self._reason = close_code(error), f"{error.code}: {error}"

    async def hold(self) -> None:
        """Return once all is told, or nobody is there to be told."""
        tasks = Tasks()
        tasks.spawn(self._inbox.keep_alive(), name="ping a live client")
        tasks.spawn(self._inbox.read(), name="read a live client")
        telling = tasks.spawn(self._tell(), name="tell a live client")
        listening = tasks.spawn(self._listen(telling), name="listen to a live client")
        tasks.spawn(self._stop_with_server(listening), name="end a live session with the server")
        tasks.spawn(self._stop_with_right(listening), name="end a live session with its right")
        try:
            await asyncio.wait([telling])
        finally:
            await tasks.close()

    async def close(self) -> None:
        """Close the connection with the code that says why."""
        await self._socket.close(code=self._code, message=close_reason(self._reason))

    async def _tell(self) -> None:
        """Send what is heard until all is told; note with which code that ends."""
        text = LiveText(self._order)
        try:
            async with aclosing(self._run.events()) as events:
                async for event in events:
                    if isinstance(event, Failed):
                        raise event.error
                    if text.take(event):
                        await self._send(text)
            await self._send(text)
        except RouterError as error:
            self.note(error)
        except TimeoutError:
            log.info("live_client_does_not_read", timeout_s=self._limits.write_timeout_s)
            hang_up(self._request)
        except ConnectionError:
            log.info("live_client_left")

    async def _send(self, text: LiveText) -> None:
        async with asyncio.timeout(self._limits.write_timeout_s):
            await self._socket.send_str(text.message(self._run.duration_s))

    async def _listen(self, telling: "asyncio.Task[None]") -> None:
        """Hear what comes until the client has finished, is gone or does not keep to the format."""
        while True:
            message = await self._next_message()
            if message is None:
                break
            if message.type is WSMsgType.TEXT:
                self._code = WSCloseCode.UNSUPPORTED_DATA
                self._reason = "Send raw 16 kHz mono s16le audio in binary messages."
                break
            if message.type is not WSMsgType.BINARY:  # closed, or broken and closed by aiohttp
                telling.cancel()
                return
            try:
                await self._hear(message.data)
            except (LimitReached, IncorrectApiKey) as error:  # what was heard is still told
                self._end_with(error)
                break
            if not message.data or self._is_inactive():
                break
        await self._run.end()

    async def _next_message(self) -> WSMessage | None:
        """Return what comes next; None: nothing has come for so long.

        Where this process did not run meanwhile, its time is over before it could read what came.
        """
        for silence_s in (self._silence_s(), LAST_LOOK_S):
            with suppress(TimeoutError):
                async with asyncio.timeout(silence_s):
                    return await self._inbox.receive()
        return None

    async def _hear(self, data: bytes) -> None:
        self._heard_any = True
        for samples in self._reader.read(data):
            await self._meter.hear(self._run, samples)

    def _silence_s(self) -> float | None:
        allowed_s = self._order.patience.no_data_s
        if not allowed_s:
            return None
        return allowed_s if self._heard_any else max(allowed_s, FIRST_DATA_S)

    def _is_inactive(self) -> bool:
        allowed_s, run = self._order.patience.inactivity_s, self._run
        if not allowed_s or run.duration_s < INACTIVITY_WINDOW_S:
            return False
        return run.silence_s >= allowed_s

    async def _stop_with_server(self, listening: "asyncio.Task[None]") -> None:
        """Make what was heard final when the server stops."""
        await self._request.app[STOPPING].wait()
        listening.cancel()
        await asyncio.wait([listening])
        self._code, self._reason = WSCloseCode.GOING_AWAY, "The server is shutting down."
        await self._run.end()

    async def _stop_with_right(self, listening: "asyncio.Task[None]") -> None:
        """Make what was heard final when the key may not have the session any more."""
        error = await lost_right(self._request, lambda: self._order.request.model)
        listening.cancel()
        await asyncio.wait([listening])
        self.note(error)
        await self._run.end()
