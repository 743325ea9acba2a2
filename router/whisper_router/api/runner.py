"""Serves an application; what is not even HTTP gets an error body like everything else.

aiohttp answers malformed requests before any middleware runs, as plain text, and logs a traceback
that quotes the bytes it could not read: those may be a key, a prompt or audio.
"""

import asyncio
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from whisper_router.api.context import new_request_id
from whisper_router.api.problems import internal_error, problem, too_many_open_files
from whisper_router.errors import InvalidRequest

FIRST_REQUEST_S = 60.0
SURPLUS_S = 2.0
"""How long a connection over the limit may take to send what it wants to be refused."""

log = structlog.get_logger(__name__)


class ApiRunner(web.AppRunner):
    """`web.AppRunner` with our errors, and limits to connections that say nothing.

    While more than `max_connections` are open, requests of those that came last are refused.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        first_request_s: float = FIRST_REQUEST_S,
        max_connections: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(app, **settings)
        self._first_request_s, self._max_connections = first_request_s, max_connections

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        server.first_request_s = self._first_request_s
        server.max_connections = self._max_connections
        return server


class _Server(web.Server):
    first_request_s = FIRST_REQUEST_S
    max_connections: int | None = None

    def __call__(self) -> web.RequestHandler:
        most = self.max_connections
        is_surplus = most is not None and len(self._connections) >= most
        silence_s = min(SURPLUS_S, self.first_request_s) if is_surplus else self.first_request_s
        return _Connection(self, first_request_s=silence_s, is_surplus=is_surplus, **self._kwargs)


@web.middleware
async def refuse_surplus(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what comes over a connection that is one too many, except for `/health`."""
    if not getattr(request.protocol, "is_surplus", False) or request.path == "/health":
        return await handler(request)
    response = problem(too_many_open_files())
    response.force_close()
    return response


class _Connection(web.RequestHandler):
    """Is closed when no request arrives, which aiohttp does between requests only.

    Whoever opens connections and says nothing would have all our descriptors.
    """

    __slots__ = ("_first_request_s", "_silence", "is_surplus")

    def __init__(
        self, server: web.Server, *, first_request_s: float, is_surplus: bool, **settings: Any
    ) -> None:
        super().__init__(server, loop=server._loop, **settings)
        self._first_request_s, self.is_surplus = first_request_s, is_surplus
        self._silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request's headers."""
        super().connection_made(transport)
        self._silence = self._loop.call_later(self._first_request_s, self._end_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the limit."""
        if self._silence is not None:
            self._silence.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reached the application, and close the connection."""
        del message  # it quotes what was sent
        request_id = new_request_id()
        self._note(request_id, status, exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        error = InvalidRequest("This is not a valid HTTP request.") if status < 500 else None
        response = problem(error or internal_error(), {"x-request-id": request_id})
        response.set_status(status)
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()
        return response

    def log_exception(self, *_args: Any, **details: Any) -> None:
        """Log what kind of error it was: its text may quote the request."""
        error = details.get("exc_info")
        log.warning("connection_failed", error=type(error).__name__ if error else "unknown")

    def _end_if_silent(self) -> None:
        if self._request_count == 0:
            self.force_close()

    def _note(self, request_id: str, status: int, error: BaseException | None) -> None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request_failed", request_id=request_id, exc_info=error)
        else:
            kind = type(error).__name__
            log.info("request_malformed", request_id=request_id, status=status, error=kind)
