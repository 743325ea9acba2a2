"""Errors → answers. The only place that turns a `RouterError` into an HTTP response."""

import errno
from collections.abc import Mapping

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from whisper_router import tracing
from whisper_router.api import proxies
from whisper_router.api.exchange import ERROR_CODE
from whisper_router.api.wire import json_response
from whisper_router.errors import (
    INVALID_REQUEST,
    SERVER_ERROR,
    LimitReached,
    MethodNotAllowed,
    RouteNotFound,
    RouterError,
    TooManyOpenFiles,
    UpstreamRefused,
)
from whisper_router.metrics import ERRORS

MAX_SHOWN = 200
LONGEST_RETRY_S = 60
NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

DETAILED = web.AppKey("detailed", frozenset[str])
"""Paths, as they are registered, of servers made with FastAPI, whose errors are `{detail}`."""

log = structlog.get_logger(__name__)


class InternalError(RouterError):
    """A bug: the cause is in the log, under the request's id."""


def problem(
    error: RouterError, headers: Mapping[str, str] | None = None, *, detailed: bool = False
) -> web.Response:
    """Return the answer to a request that ended with `error`.

    `detailed`: with FastAPI's `detail` beside the OpenAI API's `error`.
    """
    count_error(error)
    detail = {"detail": str(error)} if detailed else {}
    return json_response(
        {**detail, **error.envelope()},
        status=error.status,
        headers={**_retry(error), **(headers or {})},
    )


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with the OpenAI error body."""
    detailed = _has_detail(request)
    try:
        return await handler(request)
    except RouterError as error:
        _log_failure(error)
        request[ERROR_CODE] = error.code or ""
        return problem(error, error_headers(error), detailed=detailed)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _from_aiohttp(request, error, detailed=detailed)
    except OSError as error:
        if error.errno not in NO_DESCRIPTORS:
            log.exception("request_failed")
            return problem(internal_error(), detailed=detailed)
        log.warning("request_refused", status=503, reason="no descriptors are left")
        return problem(too_many_open_files(), detailed=detailed)
    except Exception:  # the boundary: whatever it is, the client gets an answer and the log a trace
        log.exception("request_failed")
        return problem(internal_error(), detailed=detailed)


def count_error(error: RouterError) -> None:
    """Count an error that a client is told. Codes of other servers are as many as those want."""
    code = "upstream" if isinstance(error, UpstreamRefused) else error.code
    ERRORS.labels(code or "none").inc()
    tracing.current().fail(code or "none")


def internal_error() -> RouterError:
    """Return what a client is told about a bug: nothing but that the log knows more."""
    return InternalError("The server had an error while processing your request.")


def too_many_open_files() -> RouterError:
    """Return what a client is told when this process, or the system, has too much open."""
    return TooManyOpenFiles("The server has too many connections and files open. Try again later.")


def error_headers(error: RouterError) -> Mapping[str, str]:
    """Return headers that belong to a status: 401 must name a scheme (RFC 9110 11.6.1)."""
    return {hdrs.WWW_AUTHENTICATE: "Bearer"} if error.status == 401 else {}


def base_url(request: web.Request) -> str:
    """Return the base URL to configure in a client, as this client reached us."""
    reached = proxies.origin(request)
    return f"{reached.scheme}://{reached.host[:MAX_SHOWN]}/v1"


def _from_aiohttp(
    request: web.Request, error: web.HTTPException, *, detailed: bool
) -> web.Response:
    called = f"{request.method} {request.rel_url.raw_path[:MAX_SHOWN]}"
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"Method not allowed ({called}). Allowed here: {allowed}."
        return problem(MethodNotAllowed(message), {hdrs.ALLOW: allowed})
    if isinstance(error, web.HTTPNotFound):
        return problem(
            RouteNotFound(
                f"Unknown URL ({called}). The base URL of this API is {base_url(request)} "
                "and audio goes to POST /v1/audio/transcriptions."
            )
        )
    kind = INVALID_REQUEST if error.status < 500 else SERVER_ERROR
    message = error.text or error.reason
    body = {"message": message, "type": kind, "param": None, "code": None}
    detail = {"detail": message} if detailed else {}
    return json_response({**detail, "error": body}, status=error.status)


def _has_detail(request: web.Request) -> bool:
    """Return whether the route is of a server whose clients look for `detail`."""
    resource = request.match_info.route.resource
    return resource is not None and resource.canonical in request.app[DETAILED]


def _retry(error: RouterError) -> Mapping[str, str]:
    if error.retry_after_s is None:
        return {}
    seconds = max(1, error.retry_after_s)
    headers = {hdrs.RETRY_AFTER: str(seconds), "retry-after-ms": str(seconds * 1000)}
    if isinstance(error, LimitReached) and seconds > LONGEST_RETRY_S:
        headers["x-should-retry"] = "false"  # OpenAI's clients would try twice, and at once
    return headers


def _log_failure(error: RouterError) -> None:
    """Log what the operator can do something about; the caller's mistakes are in the answer."""
    if error.status >= 500:
        log.warning("request_refused", status=error.status, code=error.code, reason=str(error))
