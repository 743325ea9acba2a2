"""How far a request is, and what waits: for clients that sent one, and for administrators."""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from whisper_router.api.auth import client_of, require_admin
from whisper_router.api.deps import DEPS, ApiDeps
from whisper_router.api.sse import EVENT_STREAM, HEADERS, HEARTBEAT
from whisper_router.api.wire import encode_json, json_response
from whisper_router.errors import RouterError
from whisper_router.pipeline.progress import ENDED, Report, Stage, Tracker
from whisper_router.scheduling.dispatch import Waiting

REFRESH_S = 1.0
"""How often a stream is sent although only its place in the queue may have changed."""
QUEUING = frozenset({Stage.WAITING, Stage.TRANSCRIBING})


class RequestNotFound(RouterError):
    """No request has this id, or it ended more than a minute ago."""

    status, kind, code = 404, "invalid_request_error", "request_not_found"


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/v1/progress/{id}", show_progress),
        web.get("/v1/queue", show_queue),
    ]


async def show_progress(request: web.Request) -> web.StreamResponse:
    """GET /v1/progress/{id}: JSON, or server-sent events until the request has ended."""
    request_id = request.match_info["id"]
    tracker = _tracker(request, request_id)
    if EVENT_STREAM in request.headers.get("Accept", ""):
        return await _stream(request, request_id, tracker)
    return json_response(_body(request.app[DEPS], request_id, tracker))


async def show_queue(request: web.Request) -> web.Response:
    """GET /v1/queue: what waits for each alias, in the order of the turns. For administrators."""
    await require_admin(request)
    queues = request.app[DEPS].queues
    running = queues.running()
    return json_response(
        {
            alias: {"running": running[alias], "waiting": [_place(item) for item in waiting]}
            for alias, waiting in queues.waiting().items()
        }
    )


async def _stream(request: web.Request, request_id: str, tracker: Tracker) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    last: object = None
    while True:
        body = _body(request.app[DEPS], request_id, tracker)
        frame = HEARTBEAT if body == last else b"data: " + encode_json(body) + b"\n\n"
        try:
            await response.write(frame)
        except ConnectionError:
            return response
        if tracker.report.stage in ENDED:
            return response
        last = body
        await _changed(tracker)


async def _changed(tracker: Tracker) -> None:
    try:
        async with asyncio.timeout(REFRESH_S):
            await tracker.changed()
    except TimeoutError:
        return


def _tracker(request: web.Request, request_id: str) -> Tracker:
    tracker = request.app[DEPS].progress.find(request_id, owner=client_of(request).name)
    if tracker is None:
        raise RequestNotFound(f"No request '{request_id}' runs or has just ended.")
    return tracker


def _body(deps: ApiDeps, request_id: str, tracker: Tracker) -> dict[str, object]:
    report = tracker.report
    fields = {
        "id": request_id,
        "object": "progress",
        "stage": report.stage.value,
        "percent": report.percent,
        "done_seconds": round(report.done_s, 3),
        "speech_seconds": _rounded(report.speech_s),
        "duration_seconds": _rounded(report.duration_s),
        "decoded_seconds": round(report.decoded_s, 3),
        **_turn(deps, request_id, report),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _turn(deps: ApiDeps, request_id: str, report: Report) -> dict[str, object]:
    """Return place and estimate of the request's next chunk, while one waits."""
    if report.stage not in QUEUING:
        return {}
    item = deps.queues.place(key=report.owner, request_id=request_id)
    if item is None:
        return {}
    return {"queue_position": item.position, "estimate_seconds": item.estimate_s}


def _place(item: Waiting) -> dict[str, object]:
    return {
        "request_id": item.ticket.request_id,
        "key": item.ticket.key,
        "lane": item.ticket.lane.name.lower(),
        "audio_seconds": round(item.ticket.cost_s, 3),
        "position": item.position,
        "waited_seconds": round(item.waited_s, 3),
        "estimate_seconds": item.estimate_s,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
