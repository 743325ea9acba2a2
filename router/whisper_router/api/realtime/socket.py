"""`WS /v1/realtime`: one connection, its tasks, and the codes that it ends with."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import WSCloseCode, WSMsgType, web

from whisper_router.api.auth import client_of, refuse_foreign_pages
from whisper_router.api.closing import CLOSE_S, close_code, close_reason, hang_up
from whisper_router.api.context import REQUEST_ID
from whisper_router.api.deps import DEPS, STOPPING
from whisper_router.api.exchange import ERROR_CODE, MODEL
from whisper_router.api.inbox import Inbox
from whisper_router.api.live_rights import lost_right
from whisper_router.api.metering import live_meter
from whisper_router.api.model_access import models_of
from whisper_router.api.noting import last_cancellable, note_failure, noting_live
from whisper_router.api.realtime.client_events import ModelRefused
from whisper_router.api.realtime.handshake import (
    PROTOCOL,
    expiry,
    first_config,
    is_beta,
    secret_of,
    usual_config,
)
from whisper_router.api.realtime.order import SessionOrder, model_of
from whisper_router.api.realtime.session import (
    RealtimeSession,
    error_event,
)
from whisper_router.api.wire import encode_json
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import (
    IncorrectApiKey,
    InvalidRequest,
    LimitReached,
    ModelNotFound,
    RequestCancelled,
    RouterError,
)
from whisper_router.pipeline.activity import Look
from whisper_router.tasks import Tasks

MAX_MESSAGE_BYTES = 22 << 20
"""One append of 15 MiB is 20 MiB of base64."""
REFUSED = 4000  # what OpenAI closes with where a session cannot be what it is to be
DATA = frozenset({WSMsgType.TEXT, WSMsgType.BINARY})

Json = dict[str, Any]

log = structlog.get_logger(__name__)


class SessionExpired(RouterError):
    """The session has lasted as long as it may."""

    status, kind, code = 400, "invalid_request_error", "session_expired"


async def realtime(request: web.Request) -> web.StreamResponse:
    """GET /v1/realtime with `Upgrade: websocket`."""
    deps = request.app[DEPS]
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        compress=False,
        autoping=False,
        max_msg_size=MAX_MESSAGE_BYTES,
        timeout=CLOSE_S,
        decode_text=False,
    )
    if not socket.can_prepare(request):
        raise InvalidRequest("This is a WebSocket: connect with `Upgrade: websocket`.")
    refuse_foreign_pages(request)
    secret = secret_of(request)
    try:
        config = first_config(models_of(request), deps.live.turns, request.query, secret)
    except ModelNotFound as error:
        return await _refuse(request, socket, error)
    request[MODEL] = model_of(config)
    order = SessionOrder(
        config=config,
        defaults=usual_config(deps.live.turns),
        request=TranscriptionRequest(
            model="", request_id=request[REQUEST_ID], client=client_of(request)
        ),
        expires_at=expiry(deps.live_limits.max_session_s),
        is_beta=is_beta(request, secret),
    )
    connection = _Connection(request, socket, order)
    with noting_live(request, connection.look):
        await socket.prepare(request)
        try:
            with last_cancellable(request):
                await connection.hold()
        except RequestCancelled as error:
            await connection.refuse(error)
        await connection.close()
    return socket


async def _refuse(
    request: web.Request, socket: web.WebSocketResponse, error: ModelNotFound
) -> web.WebSocketResponse:
    """Say over the WebSocket what a browser could not read of an HTTP answer."""
    await socket.prepare(request)
    await socket.send_str(encode_json(error_event(ModelRefused(str(error)))).decode())
    await socket.close(code=REFUSED, message=b"invalid_request_error.invalid_model")
    return socket


class _Connection:
    """Listens to one client and tells it what is heard."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, order: SessionOrder
    ) -> None:
        deps = request.app[DEPS]
        self._request, self._socket, self._limits = request, socket, deps.live_limits
        self._session = RealtimeSession(
            order,
            live=deps.live,
            models=models_of(request),
            send=self._send,
            hear=live_meter(request).hear,
        )
        self._inbox = Inbox(socket)
        self._sending = asyncio.Lock()
        self._code: int = WSCloseCode.OK
        self._reason = ""

    async def hold(self) -> None:
        """Return once the client has left, or the session is over."""
        tasks, over = Tasks(), asyncio.Event()
        tasks.spawn(self._inbox.keep_alive(), name="ping a realtime client")
        tasks.spawn(self._inbox.read(), name="read a realtime client")
        tasks.spawn(self._tell(over), name="tell a realtime client")
        listening = tasks.spawn(self._listen(over), name="listen to a realtime client")
        tasks.spawn(self._expire(over), name="end a realtime session in time")
        tasks.spawn(self._stop_with_server(listening), name="end a realtime session with us")
        tasks.spawn(self._stop_with_right(listening), name="end a realtime session's right")
        try:
            await over.wait()
        finally:
            try:
                await tasks.close_in_full()
            finally:
                await self._session.close()

    def look(self) -> Look:
        """Return what the session listens with, and how much it was sent."""
        return Look(model=self._session.model, audio_s=self._session.heard_s)

    async def refuse(self, error: RouterError) -> None:
        """Tell why the session ends."""
        self._note(error)
        await self._say(error)

    async def close(self) -> None:
        """Close the connection with the code that says why."""
        await self._socket.close(code=self._code, message=close_reason(self._reason))

    async def _listen(self, over: asyncio.Event) -> None:
        try:
            await self._session.begin()
            while (message := await self._inbox.receive()).type in DATA:
                if message.type is WSMsgType.TEXT:
                    await self._session.take(message.data)
                else:
                    await self._session.take_audio(message.data)
        except (LimitReached, IncorrectApiKey) as error:  # what was heard is still told
            self._note(error)
            await self._session.end()
            return
        except RouterError as error:
            self._note(error)
        except (TimeoutError, ConnectionError):
            self._hang_up()
        except Exception:
            self._code = WSCloseCode.INTERNAL_ERROR
            over.set()
            raise
        over.set()

    async def _tell(self, over: asyncio.Event) -> None:
        try:
            await self._session.tell()
        except RouterError as error:
            await self.refuse(error)
        except (TimeoutError, ConnectionError):
            self._hang_up()
        except Exception:
            self._code = WSCloseCode.INTERNAL_ERROR
            raise
        finally:
            over.set()

    async def _expire(self, over: asyncio.Event) -> None:
        await asyncio.sleep(self._limits.max_session_s)
        minutes = f"{self._limits.max_session_s / 60:g}"
        error = SessionExpired(f"Your session hit the maximum duration of {minutes} minutes.")
        self._code = WSCloseCode.GOING_AWAY
        self._reason = f"{error.kind}.{error.code}"
        await self._say(error)
        over.set()

    async def _stop_with_server(self, listening: "asyncio.Task[None]") -> None:
        """Make what was heard final when the server stops; clients come back after this code."""
        await self._request.app[STOPPING].wait()
        listening.cancel()
        await asyncio.wait([listening])
        self._code, self._reason = WSCloseCode.SERVICE_RESTART, "The server is shutting down."
        await self._session.end()

    async def _stop_with_right(self, listening: "asyncio.Task[None]") -> None:
        """Say that the key may not have the session any more, and make what was heard final."""
        error = await lost_right(self._request, lambda: self._session.model)
        listening.cancel()
        await asyncio.wait([listening])
        await self.refuse(error)
        await self._session.end()

    async def _say(self, error: RouterError) -> None:
        with suppress(TimeoutError, ConnectionError):
            await self._send([error_event(error)])

    async def _send(self, events: Sequence[Json]) -> None:
        """Send events one after the other, as all of them belong together."""
        async with self._sending, asyncio.timeout(self._limits.write_timeout_s):
            for event in events:
                await self._socket.send_str(encode_json(event).decode())

    def _note(self, error: RouterError) -> None:
        self._request[ERROR_CODE] = error.code or ""
        log.warning("realtime_session_failed", code=error.code, reason=str(error))
        note_failure(self._request, error)
        self._code = REFUSED if isinstance(error, ModelRefused) else close_code(error)
        self._reason = f"{error.kind}.{error.code}"

    def _hang_up(self) -> None:
        log.info("realtime_client_left")
        hang_up(self._request)
