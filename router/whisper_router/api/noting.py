"""Requests for text are noted while they run and after: what operators see and may cancel."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, TypeVar

from aiohttp import web

from whisper_router.api.auth import client_of
from whisper_router.api.context import REQUEST_ID, SWITCHED
from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import ERROR_CODE
from whisper_router.errors import RequestCancelled, RouterError
from whisper_router.jobs.model import Job, JobStatus
from whisper_router.pipeline.activity import Activity, Ended, Kind, Look, Origin
from whisper_router.pipeline.progress import Tracker
from whisper_router.scheduling.dispatch import FirstTurn

JOBS_PATH = "/v1/jobs"
ACTIVITY = web.RequestKey("activity", Activity)

Answer = TypeVar("Answer", bound=web.StreamResponse)


def for_text(
    handler: Callable[[web.Request], Awaitable[Answer]],
) -> Callable[[web.Request], Awaitable[Answer]]:
    """Note every request for text that `handler` answers. What becomes a job is noted as that."""

    @wraps(handler)
    async def noted(request: web.Request) -> Answer:
        with noting(request, Kind.TRANSCRIPTION):
            return await handler(request)

    return noted


@contextmanager
def noting(request: web.Request, kind: Kind) -> Iterator[Activity]:
    """Note what is done for a request until the block ends; it can be cancelled.

    Raises:
        RequestCancelled: it was.
    """
    resource = request.match_info.route.resource
    origin = Origin(
        id=request[REQUEST_ID],
        kind=kind,
        owner=client_of(request).name,
        method=request.method,
        path="" if resource is None else resource.canonical,
    )
    with request.app[DEPS].activity.note(origin) as request[ACTIVITY]:
        yield request[ACTIVITY]


@contextmanager
def noting_live(request: web.Request, look: Callable[[], Look]) -> Iterator[Activity]:
    """Note a live session. Its client may leave at any time: that is how sessions end."""
    with noting(request, Kind.LIVE) as activity:
        activity.status = activity.left_status = SWITCHED
        activity.look = look
        yield activity


def last_cancellable(request: web.Request) -> AbstractContextManager[None]:
    """Return the scope of what sends a stream, in which a cancel is still the stream's to tell."""
    activity = request.get(ACTIVITY)
    return nullcontext() if activity is None else activity.last_cancellable()


def cancellable(request: web.Request) -> AbstractContextManager[None]:
    """Return a scope in which a cancel is RequestCancelled already, for who notes errors."""
    activity = request.get(ACTIVITY)
    return nullcontext() if activity is None else activity.cancellable()


def note_progress(request: web.Request, ticket_id: str, tracker: Tracker, first: FirstTurn) -> None:
    """Note where a request's progress and its place in the queue are seen."""
    activity = request.get(ACTIVITY)
    if activity is not None:
        activity.ticket_id, activity.tracker, activity.first = ticket_id, tracker, first


def note_model(request: web.Request, model: str) -> None:
    """Note which model a request names."""
    if ACTIVITY in request:
        request[ACTIVITY].model = model


def note_failure(request: web.Request, error: RouterError) -> None:
    """Note that what had begun to be answered has failed, also for the request's line."""
    request[ERROR_CODE] = error.code or ""
    if ACTIVITY in request:
        request[ACTIVITY].fail(error)


def forget(request: web.Request) -> None:
    """Note nothing of a request: the job that was made of it is noted."""
    if ACTIVITY in request:
        request[ACTIVITY].is_forgotten = True


def ended_job(job: Job) -> Ended:
    """Return what is kept of a job that has ended."""
    error: dict[str, Any] = dict(job.error or {})
    status, code = 200, None
    if job.status is JobStatus.CANCELLED:
        status, code = RequestCancelled.status, RequestCancelled.code
    elif job.status is JobStatus.FAILED:
        status, code = int(error.get("status", 500)), error.get("code")
    ended_s = job.created_s if job.ended_s is None else job.ended_s
    started_s = job.started_s
    return Ended(
        origin=job_origin(job),
        model=job.request.model,
        status=status,
        code=code,
        audio_s=job.duration_s,
        work_s=None if started_s is None else max(0.0, ended_s - started_s),
        wait_s=None if started_s is None else max(0.0, started_s - job.created_s),
        started_s=job.created_s,
        ended_s=max(job.created_s, ended_s),
    )


def job_origin(job: Job) -> Origin:
    """Return what asked for a job."""
    return Origin(id=job.id, kind=Kind.JOB, owner=job.owner, method="POST", path=JOBS_PATH)
