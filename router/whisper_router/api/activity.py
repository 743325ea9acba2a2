"""What runs and how the latest work went, of one's own or for administrators everybody's."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from whisper_router.api.auth import client_of, is_admin, refuse_foreign_pages
from whisper_router.api.deps import DEPS, ApiDeps
from whisper_router.api.fields import integer
from whisper_router.api.noting import job_origin
from whisper_router.api.services import JobService
from whisper_router.api.wire import json_response
from whisper_router.errors import RouterError
from whisper_router.jobs.model import JobStatus
from whisper_router.pipeline.activity import KEPT, Activity, Ended, Kind, Origin
from whisper_router.pipeline.progress import Stage

USUALLY_LISTED: Final = 100
MOST_JOBS: Final = 100
"""So many running jobs are listed, and so many queued ones."""
CANCEL_S: Final = 5.0
"""How long at most a cancel waits for the end of the work before it is answered."""
Json = dict[str, Any]


class NotRunning(RouterError):
    """Nothing runs under this id, or nothing of the caller's."""

    status, kind, code = 404, "invalid_request_error", "request_not_found"


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/v1/activity", show_activity),
        web.post("/v1/activity/{id}/cancel", cancel),
    ]


async def show_activity(request: web.Request) -> web.Response:
    """GET /v1/activity: what runs, and the latest that has ended; the newest first."""
    deps, owner = request.app[DEPS], _seen_by(request)
    limit = integer("limit", request.query.get("limit"), low=1, high=KEPT) or USUALLY_LISTED
    running = [_running(deps, item) for item in deps.activity.running(owner=owner)]
    if deps.jobs is not None:
        running += [item async for item in _jobs(deps.jobs, owner)]
    running.sort(key=lambda item: -float(item["started_at"]))
    history = [_ended(item) for item in deps.activity.history(owner=owner, limit=limit)]
    return json_response({"object": "activity", "running": running, "history": history})


async def cancel(request: web.Request) -> web.Response:
    """POST /v1/activity/{id}/cancel: its worker is free when this is answered.

    Its client gets RequestCancelled: as an answer, in its stream, or with the end of its session.

    Raises:
        PermissionDenied: a page of another site wants it (`auth.refuse_foreign_pages`).
        NotRunning: nothing of this id runs that the caller may cancel.
    """
    refuse_foreign_pages(request)
    deps, owner, wanted = request.app[DEPS], _seen_by(request), request.match_info["id"]
    activity = deps.activity.find(wanted, owner=owner)
    if activity is not None and activity.cancel():
        with suppress(TimeoutError):  # a client that does not read holds up the end of its stream
            async with asyncio.timeout(CANCEL_S):
                await activity.ended.wait()
    elif not await _cancel_job(deps.jobs, wanted, owner):
        raise NotRunning(f"No request, session or job '{wanted[:200]}' runs.")
    return json_response({"id": wanted, "cancelled": True})


async def _cancel_job(jobs: JobService | None, job_id: str, owner: str | None) -> bool:
    job = None if jobs is None else await jobs.store.find(job_id)
    if jobs is None or job is None or owner not in {None, job.owner}:
        return False
    return await jobs.cancel(job)


def _seen_by(request: web.Request) -> str | None:
    """Return whose work the caller sees; None: everybody's."""
    return None if is_admin(request) else client_of(request).name


def _running(deps: ApiDeps, item: Activity) -> Json:
    report = None if item.tracker is None else item.tracker.report
    place = deps.queues.place(key=item.origin.owner, request_id=item.ticket_id)
    is_queued = report is not None and report.stage is Stage.WAITING
    is_live = item.origin.kind is Kind.LIVE
    return {
        **_origin(item.origin, item.model),
        "status": "queued" if is_queued else "running",
        "progress": None if report is None or is_live else round(report.percent / 100, 3),
        "audio_seconds": _rounded(item.audio_s),
        "started_at": round(item.started_s, 3),
        "elapsed_seconds": round(item.elapsed_s, 3),
        "queue_position": None if place is None or is_live else place.position,
        "cancellable": item.is_cancellable,
    }


async def _jobs(jobs: JobService, owner: str | None) -> AsyncIterator[Json]:
    for status in (JobStatus.RUNNING, JobStatus.QUEUED):
        for job in await jobs.store.page(owner=owner, status=status, limit=MOST_JOBS):
            tracker = jobs.tracker(job.id)
            is_queued = status is JobStatus.QUEUED
            yield {
                **_origin(job_origin(job), job.request.model),
                "status": status.value,
                "progress": 0.0 if tracker is None else round(tracker.report.percent / 100, 3),
                "audio_seconds": _rounded(tracker.report.duration_s if tracker else None),
                "started_at": round(job.created_s, 3),
                "elapsed_seconds": round(max(0.0, time.time() - job.created_s), 3),
                "queue_position": await jobs.store.ahead_of(job) if is_queued else None,
                "cancellable": True,
            }


def _ended(item: Ended) -> Json:
    rtf = item.rtf
    return {
        **_origin(item.origin, item.model),
        "method": item.origin.method,
        "path": item.origin.path,
        "status": item.status,
        "code": item.code,
        "audio_seconds": _rounded(item.audio_s),
        "took_seconds": round(item.ended_s - item.started_s, 3),
        "rtf": None if rtf is None else round(rtf, 4),
        "wait_seconds": _rounded(item.wait_s),
        "started_at": round(item.started_s, 3),
        "ended_at": round(item.ended_s, 3),
    }


def _origin(origin: Origin, model: str | None) -> Json:
    return {
        "id": origin.id,
        "kind": origin.kind.value,
        "model": model,
        "key": origin.owner or None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
