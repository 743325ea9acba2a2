"""One connection to a client: what it may send before a request is one, and how slowly.

aiohttp limits neither how long headers may take nor how long an answer may wait to be read, and it
answers what is not HTTP as plain text, with a log line that quotes the bytes it could not read:
those may be a key, a prompt or audio.
"""

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import hdrs, web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from whisper_router.api.context import new_request_id
from whisper_router.api.crowd import Crowd
from whisper_router.api.malformed import Malformed
from whisper_router.api.problems import internal_error, problem
from whisper_router.api.proxies import UNKNOWN, peer_address
from whisper_router.errors import InvalidRequest, RouterError
from whisper_router.metrics import CONNECTIONS_CUT

SURPLUS_S = 2.0
"""How long a connection over the limit may take to send what it wants to be refused."""

log = structlog.get_logger(__name__)


class AddressTooLong(InvalidRequest):
    """The request line is over the configured limit."""

    status, code = 414, "address_too_long"


class HeadersTooLarge(InvalidRequest):
    """The headers of a request are too many, or too large together."""

    status, code = 431, "headers_too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What a client may send before it is heard, and how long it may take.

    `header_timeout_s` is for all headers of a request together, `write_timeout_s` for those who do
    not read. A byte less than these sizes is accepted.
    """

    header_timeout_s: float = 20.0
    write_timeout_s: float = 60.0
    max_line_bytes: int = 8192
    max_header_bytes: int = 32768
    max_headers: int = 100

    def of_parser(self) -> dict[str, int]:
        """Return aiohttp's settings. It tells by the limit which of two was broken."""
        one = self.max_header_bytes + (self.max_header_bytes == self.max_line_bytes)
        return {
            "max_line_size": self.max_line_bytes,
            "max_field_size": one,
            "max_headers": self.max_headers,
        }


class Connection(web.RequestHandler):
    """A client's connection."""

    __slots__ = (
        "_address",
        "_closing",
        "_deadline",
        "_header_bytes",
        "_is_resting",
        "_stuck",
        "_wire",
        "crowd",
        "is_surplus",
        "limits",
        "malformed",
    )

    def __init__(
        self,
        server: web.Server,
        crowd: Crowd,
        limits: ConnectionLimits,
        malformed: Malformed,
        **settings: Any,
    ) -> None:
        super().__init__(server, loop=server._loop, **{**limits.of_parser(), **settings})
        self.crowd, self.limits, self.malformed = crowd, limits, malformed
        self.is_surplus = False
        self._is_resting = True
        self._address = UNKNOWN
        self._header_bytes = 0
        self._wire: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request's headers."""
        super().connection_made(transport)
        self._wire = self.transport
        is_overrun = self.crowd.is_overrun
        address = peer_address(transport.get_extra_info("peername"))
        self._address = address
        self.is_surplus = not self.crowd.enter(self, address)
        wait_s = self.limits.header_timeout_s
        if self.is_surplus:
            CONNECTIONS_CUT.labels("no_room").inc()
            wait_s = min(SURPLUS_S, wait_s)
            if is_overrun:
                self._abort()
                return
        self._deadline = self._loop.call_later(wait_s, self._end_if_silent)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget all limits."""
        for timer in (self._deadline, self._stuck, self._closing):
            if timer is not None:
                timer.cancel()
        self._deadline = self._stuck = self._closing = self._wire = None
        self.crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; while headers are not complete, count them and their time."""
        super().data_received(data)
        waiter = self._waiter
        if self._request_count == 0 or (waiter is not None and not waiter.done()):
            if data:
                self._take_partial(len(data))
        elif self._is_resting and self._messages:  # not what is left of a body
            self._is_resting, self._header_bytes = False, 0
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            self.crowd.work(self)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; whoever has had it waits for the next request."""
        finished = await super().finish_response(request, resp, start_time)
        self.rest()
        return finished

    def rest(self) -> None:
        """Note that the answer is written, so that nothing is done here but to wait."""
        if not self._messages and not self._is_resting:
            self._is_resting = True
            self.crowd.rest(self)

    async def start(self) -> None:
        """Serve requests until the end; what was sent then must be read in a while."""
        try:
            await super().start()
        finally:
            if self._wire is not None:
                self._closing = self._loop.call_later(self.limits.write_timeout_s, self._abort)

    def pause_writing(self) -> None:
        """Take note that the client does not read, or not as quickly as it is answered."""
        super().pause_writing()
        self._stuck = self._loop.call_later(self.limits.write_timeout_s, self._cut_off)

    def resume_writing(self) -> None:
        """Take note that it reads."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()

    def give_way(self) -> None:
        """Close, because others need the room."""
        CONNECTIONS_CUT.labels("gave_way").inc()
        self.force_close()

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
        error = self._named(status, exc)
        self._note(request_id, error, status, exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        response = problem(error, {"x-request-id": request_id})
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            response.set_status(status)
        response.headers[hdrs.SERVER] = self.malformed.service
        response.headers[hdrs.CONNECTION] = "close"
        response.force_close()
        return response

    def log_exception(self, *_args: Any, **details: Any) -> None:
        """Log what kind of error it was: its text may quote the request."""
        error = details.get("exc_info")
        log.warning("connection_failed", error=type(error).__name__ if error else "unknown")

    def _take_partial(self, count: int) -> None:
        self._header_bytes += count
        most = self.limits.max_header_bytes + self.limits.max_line_bytes
        if self._header_bytes > most and not self._close:
            self._close = True  # nothing more is read; what is queued is answered still
            self._request_count += 1
            error = _ErrInfo(status=431, exc=too_large_headers(self.limits), message="")
            self._messages.append((error, EMPTY_PAYLOAD))
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        elif self._deadline is None:
            wait_s = self.limits.header_timeout_s
            self._deadline = self._loop.call_later(wait_s, self._end_if_silent)

    def _named(self, status: int, exc: BaseException | None) -> RouterError:
        """Return the error to tell for one of aiohttp's."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return internal_error()
        if isinstance(exc, RouterError):
            return exc
        if isinstance(exc, LineTooLong):
            if exc.args[1] == self.limits.max_line_bytes:
                return AddressTooLong(
                    f"The address is longer than {self.limits.max_line_bytes} bytes "
                    "(server.max_request_line_bytes)."
                )
            return too_large_headers(self.limits)
        if isinstance(exc, BadHttpMessage) and "Too many headers" in exc.message:
            return too_large_headers(self.limits)
        return InvalidRequest("This is not a valid HTTP request.")

    def _end_if_silent(self) -> None:
        self._deadline = None
        if self._is_resting:
            CONNECTIONS_CUT.labels("slow_headers").inc()
            self.force_close()

    def _cut_off(self) -> None:
        self._stuck = None
        CONNECTIONS_CUT.labels("does_not_read").inc()
        self._abort()

    def _abort(self) -> None:
        """End the connection, and let the system forget what it has not sent."""
        if self._wire is not None:
            with contextlib.suppress(OSError, AttributeError):
                reset = struct.pack("ii", 1, 0)  # linger(1): for no time at all
                wire = self._wire.get_extra_info("socket")
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            self._wire.abort()

    def _note(
        self, request_id: str, told: RouterError, status: int, cause: BaseException | None
    ) -> None:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("request_failed", request_id=request_id, exc_info=cause)
            return
        self.malformed.note(
            request_id,
            address=self._address,
            status=told.status,
            code=told.code,
            kind=type(cause).__name__,
        )


def too_large_headers(limits: ConnectionLimits) -> HeadersTooLarge:
    """Return the error for headers that are too many or too large."""
    return HeadersTooLarge(
        f"The headers are more than {limits.max_headers}, or larger than "
        f"{limits.max_header_bytes} bytes (server.max_headers, server.max_header_bytes)."
    )
