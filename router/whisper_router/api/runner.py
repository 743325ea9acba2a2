"""Serves an application; what is not even HTTP gets an error body like everything else.

aiohttp answers malformed requests before any middleware runs, as plain text, and logs a traceback
that quotes the bytes it could not read: those may be a key, a prompt or audio.
"""

from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web

from whisper_router.api.context import new_request_id
from whisper_router.api.problems import internal_error, problem
from whisper_router.errors import InvalidRequest

log = structlog.get_logger(__name__)


class ApiRunner(web.AppRunner):
    """`web.AppRunner` with our errors. It takes the same arguments."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

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

    def _note(self, request_id: str, status: int, error: BaseException | None) -> None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request_failed", request_id=request_id, exc_info=error)
        else:
            kind = type(error).__name__
            log.info("request_malformed", request_id=request_id, status=status, error=kind)
