"""What belongs to one HTTP exchange: its id, its log line, the headers of every answer."""

import asyncio
import logging
import re
import uuid
from collections.abc import Mapping

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from structlog.contextvars import bound_contextvars

from whisper_router import tracing
from whisper_router.api import proxies
from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import FIRST_TURN, KEY, audit_fields, route_of
from whisper_router.api.limits.headers import limit_headers
from whisper_router.metrics import REQUEST_SECONDS, REQUESTS
from whisper_router.scheduling.dispatch import FirstTurn

REQUEST_ID = web.RequestKey("request_id", str)
STATUS = web.RequestKey("status", int)
STARTED_S = web.RequestKey("started_s", float)
NOISE = web.RequestKey("noise", bool)
"""One of very many that are refused alike: not worth a log line, nor its body being read."""
SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PROBES = frozenset({"/health", "/ready", "/healthcheck", "/whisperx/healthcheck"})
UNTRACED = PROBES | {"/metrics"}
WATCHING = frozenset({"/v1/activity", "/v1/processes", "/v1/progress/{id}", "/v1/queue"})
"""Routes that are asked every second or two, such as by a page that is open all day."""
CLIENT_LEFT = 499  # nginx's status for a client that closed the connection first
SWITCHED = 101
MAX_LOGGED_PATH = 200

log = structlog.get_logger(__name__)


@web.middleware
async def identify_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request an id (its own, if that is a safe one) and bind it to all log lines.

    `X-Progress-ID` comes first: `X-Request-ID` may be of a proxy, which the client does not know.
    """
    request[STARTED_S] = asyncio.get_running_loop().time()
    request[REQUEST_ID] = _request_id(request)
    proxies.origin(request)  # kept: nobody knows where it came from once its client has left
    with bound_contextvars(request_id=request[REQUEST_ID]):
        return await handler(request)


@web.middleware
async def trace_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Make the request a span, and a part of its client's trace if that sent one."""
    if request.path in UNTRACED:
        return await handler(request)
    shown = route_of(request)
    with tracing.begin(
        f"{_method(request)} {shown}",
        kind=tracing.Kind.SERVER,
        parent={name: ",".join(request.headers.getall(name, [])) for name in tracing.HEADERS},
        http__request__method=_method(request),
        http__route=shown,
        request_id=request[REQUEST_ID],
    ) as span:
        with span.active():
            response = await handler(request)
        span.set(http__response__status_code=response.status)
        return response


@web.middleware
async def log_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write one line per request: no query, which may hold secrets, and no body."""
    status = CLIENT_LEFT
    try:
        response = await handler(request)
        status = response.status
    except asyncio.CancelledError:
        if request.get(STATUS) == SWITCHED:  # to leave a WebSocket is how a client ends it
            status = SWITCHED
        raise
    finally:
        shown = route_of(request)
        REQUESTS.labels(_method(request), shown, str(status)).inc()
        if status != SWITCHED:  # a WebSocket lasts as long as its client wants
            REQUEST_SECONDS.labels(shown).observe(elapsed_s(request))
        _note(request, status)
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add what every answer carries, at the moment its headers are sent.

    A signal and not a middleware, because a stream sends its headers before its handler returns.
    """
    deps = request.app[DEPS]
    request[STATUS] = response.status
    response.headers[hdrs.SERVER] = deps.service.name
    response.headers["x-request-id"] = request.get(REQUEST_ID, "")
    response.headers["openai-processing-ms"] = str(round(elapsed_s(request) * 1000))
    response.headers.update(_queue_headers(request.get(FIRST_TURN)))
    if (key := request.get(KEY)) is not None:
        response.headers.update(limit_headers(deps.usage.account(key.name), key.limits))
    response.headers.update(deps.cors.headers(request.headers.get(hdrs.ORIGIN)))


def _note(request: web.Request, status: int) -> None:
    """Write the request's line, and the audit's, of which health checks are no part."""
    is_probe = request.path in PROBES and status == 200
    is_usual = status == 200 and (request.path in UNTRACED or route_of(request) in WATCHING)
    took_s, known = round(elapsed_s(request), 3), audit_fields(request, status)
    log.log(
        logging.DEBUG if is_usual or NOISE in request else logging.INFO,
        "request_done",
        path=request.rel_url.raw_path[:MAX_LOGGED_PATH],
        took_s=took_s,
        **known,
    )
    audit = request.app[DEPS].audit
    if audit is not None and not is_probe:
        audit.write({"request_id": request[REQUEST_ID], **known, "took_s": took_s})


def elapsed_s(request: web.Request) -> float:
    """Return how long ago the request's headers were read."""
    now_s = asyncio.get_running_loop().time()
    started_s: float = request.get(STARTED_S, now_s)
    return now_s - started_s


def _queue_headers(first: FirstTurn | None) -> Mapping[str, str]:
    """Return what is known by now of how the request's first chunk fared in the queue.

    `x-queue-time` counts milliseconds, as Hugging Face's inference servers do.
    """
    if first is None or first.position is None:
        return {}
    headers = {"x-queue-position": str(first.position)}
    if first.waited_s is not None:
        headers["x-queue-time"] = str(round(first.waited_s * 1000))
    return headers


def _method(request: web.Request) -> str:
    """Return the method; clients may make up as many as they want."""
    return request.method if request.method in hdrs.METH_ALL else "other"


def _request_id(request: web.Request) -> str:
    sent = (request.headers.get(name, "") for name in ("X-Progress-ID", "X-Request-ID"))
    return next(filter(SAFE_ID.fullmatch, sent), None) or new_request_id()


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"req_{uuid.uuid4().hex}"
