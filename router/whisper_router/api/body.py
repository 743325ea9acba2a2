"""Request bodies that are asked for late, and bodies that are never used."""

from contextlib import suppress

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware

from whisper_router.api.connection import Connection
from whisper_router.api.context import NOISE
from whisper_router.api.deps import DrainLimits
from whisper_router.audio.upload import drain

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SOON_OVER = frozenset({401, 403, 404, 405})
"""Anybody can have these, and whoever gets them cannot have meant the body well."""
CONTINUED = web.RequestKey("continued", bool)


async def leave_waiting(_request: web.Request) -> None:
    """Expect handler: whoever announces a body is told to send it by the handler, not before.

    So a request without a key is refused before its 500 MB are on the way.
    """


async def send_continue(request: web.Request, *, limit_bytes: int) -> None:
    """Ask for the body, if the client waits for that and the body is not too large anyway.

    Raises:
        HTTPExpectationFailed: the client expects something else (RFC 9110 10.1.1).
    """
    if not _waits(request):
        return
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Unknown Expect header.")
    if (request.content_length or 0) <= limit_bytes:
        request[CONTINUED] = True
        await request.writer.write(CONTINUE)
        request.writer.output_size = 0  # aiohttp: bytes sent so far are a begun response


def drain_unread(limits: DrainLimits) -> Middleware:
    """Return a middleware that reads on, within limits, when a request is answered early.

    Closing a connection that holds unread bytes resets it, and the client then reports a broken
    connection, and tries again, instead of showing our answer. What is read then is no work: the
    connection gives way to others. Who may not do this, or sends what nobody asked for, is soon
    left, and before that if it hardly sends anything.
    """

    @web.middleware
    async def read_on(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        if request.content.at_eof():
            return response
        if _waits(request) and not request.get(CONTINUED, False):
            response.force_close()  # nothing was sent, nothing will be
            return response
        is_noise = NOISE in request
        if is_noise:
            response.force_close()
        with suppress(ConnectionError):  # the client left; drain finds out as well
            await response.prepare(request)
            await response.write_eof()
        if is_noise:
            request.protocol.force_close()  # else aiohttp reads on for a while
            return response
        if isinstance(connection := request.protocol, Connection):
            connection.rest()
        if response.status >= 400 and response.status not in SOON_OVER:
            await drain(request, limit_bytes=limits.limit_bytes, timeout_s=limits.timeout_s)
        elif not await drain(
            request,
            limit_bytes=limits.limit_bytes,
            timeout_s=limits.brief_s,
            least_bytes_s=limits.least_bytes_s,
        ):
            request.protocol.force_close()
        return response

    return read_on


def _waits(request: web.Request) -> bool:
    return request.version >= HttpVersion11 and hdrs.EXPECT in request.headers
