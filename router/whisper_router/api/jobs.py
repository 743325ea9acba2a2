"""`/v1/jobs`: transcriptions that outlive their request."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import web

from whisper_router.api import formats
from whisper_router.api.auth import client_of
from whisper_router.api.body import leave_waiting, send_continue
from whisper_router.api.deps import DEPS, STOPPING, ApiDeps
from whisper_router.api.fields import Fields, choice, integer
from whisper_router.api.forms import DIARIZED, VERBOSE, ResponseOptions, parse_order
from whisper_router.api.job_body import deliveries_body, job_body
from whisper_router.api.job_errors import (
    JobFailed,
    JobNotCompleted,
    JobNotFound,
    JobsUnavailable,
)
from whisper_router.api.job_making import NewJob, check_room, make_job, service_of
from whisper_router.api.job_order import fields_of, webhook_of
from whisper_router.api.recognise import order_of, with_model
from whisper_router.api.sse import HEADERS, HEARTBEAT
from whisper_router.api.wire import encode_json, json_response
from whisper_router.audio.upload import Upload, incoming_upload, read_body
from whisper_router.domain import Task, Transcript
from whisper_router.errors import InvalidParameter
from whisper_router.jobs.model import Job, JobStatus
from whisper_router.tasks import Tasks

__all__ = [
    "JobNotCompleted",
    "JobNotFound",
    "JobsUnavailable",
    "find_job",
    "made",
    "result_of",
    "routes",
    "service_of",
]

MOST_LISTED, USUALLY_LISTED = 1000, 20
REFRESH_S = 0.25
"""How often events are looked at although only the progress may have changed."""
GRANULARITIES = "timestamp_granularities"
NO_MORE = 204
"""Tells an EventSource not to come back."""
Json = dict[str, Any]


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    one = "/v1/jobs/{id}"
    return [
        web.post("/v1/jobs", create_job, expect_handler=leave_waiting),
        web.get("/v1/jobs", list_jobs),
        web.get(one, show_job),
        web.get(f"{one}/events", follow_job),
        web.get(f"{one}/result", show_result),
        web.post(f"{one}/cancel", cancel_job),
        web.delete(one, delete_job),
    ]


async def create_job(request: web.Request) -> web.Response:
    """POST /v1/jobs: a form with the file, or JSON with the address of the audio."""
    await check_room(request)
    limits = request.app[DEPS].upload_limits
    service = service_of(request.app[DEPS])
    if request.content_type == "application/json":
        await send_continue(request, limit_bytes=limits.max_field_bytes)
        fields = fields_of(await read_body(request, limits))
        return await _create(request, fields, None)
    await send_continue(request, limit_bytes=limits.max_upload_bytes)
    async with incoming_upload(request, service.spool, limits) as incoming:
        upload = await incoming.complete()
        return await _create(request, upload.fields, upload)


async def made(request: web.Request, new: NewJob) -> web.Response:
    """Make a job and answer with it. Raises as `make_job`."""
    job = await make_job(request, new)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    return json_response(await _whole(request, job), status=202, headers=headers)


async def list_jobs(request: web.Request) -> web.Response:
    """GET /v1/jobs: the newest first; `status`, `limit` and `after` choose among them."""
    deps, owner = request.app[DEPS], client_of(request).name
    query = Fields(list(request.query.items()))
    status, after = query.text("status"), query.text("after")
    limit = integer("limit", query.text("limit"), low=1, high=MOST_LISTED) or USUALLY_LISTED
    store = service_of(deps).store
    if after is not None:
        last = await store.find(after)
        if last is None or last.owner != owner:
            raise InvalidParameter("There is no such job (any more).", param="after")
    found = await store.page(
        owner=owner,
        status=None if status is None else choice("status", status, JobStatus),
        limit=limit + 1,
        after=after,
    )
    listed = found[:limit]
    return json_response(
        {
            "object": "list",
            "data": [_shown(deps, job) for job in listed],
            "has_more": len(found) > limit,
            "last_id": listed[-1].id if listed else None,
        }
    )


async def show_job(request: web.Request) -> web.Response:
    """GET /v1/jobs/{id}."""
    return json_response(await _whole(request, await _named(request)))


async def follow_job(request: web.Request) -> web.StreamResponse:
    """GET /v1/jobs/{id}/events: the job whenever it has changed, until it has ended.

    Each event's id stands for its content: who comes back with it in `Last-Event-ID` is told what
    has changed since, and with that of the last event that there will be no more (204).
    """
    job = await _named(request)
    service, stopping = service_of(request.app[DEPS]), request.app[STOPPING]
    last = request.headers.get("Last-Event-ID", "")
    if job.has_ended and _event_id(await _whole(request, job)) == last:
        return web.Response(status=NO_MORE)
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    with suppress(ConnectionError), service.watch(job.id) as changed:
        async with _set_with(stopping, changed):
            while not stopping.is_set():
                changed.clear()
                found = await service.store.find(job.id)
                body = _deleted(job.id) if found is None else await _whole(request, found)
                event_id = _event_id(body)
                frame = HEARTBEAT if event_id == last else _frame(event_id, body)
                await response.write(frame)
                if found is None or found.has_ended:
                    break
                last = event_id
                is_busy = service.tracker(job.id) is not None
                wait_s = REFRESH_S if is_busy else request.app[DEPS].heartbeat_s
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await changed.wait()
    return response


async def show_result(request: web.Request) -> web.Response:
    """GET /v1/jobs/{id}/result: in the format of the job, or in any other."""
    job = await _named(request)
    transcript = await result_of(request, job)
    wanted = _wanted(request, job)
    return await request.app[DEPS].rendering.run(formats.respond, transcript, wanted)


async def cancel_job(request: web.Request) -> web.Response:
    """POST /v1/jobs/{id}/cancel: its worker is free when this is answered."""
    job = await _named(request)
    await service_of(request.app[DEPS]).cancel(job)
    return json_response(await _whole(request, await _named(request)))


async def delete_job(request: web.Request) -> web.Response:
    """DELETE /v1/jobs/{id}: cancel it if need be, and erase its audio and its text."""
    job = await _named(request)
    await service_of(request.app[DEPS]).erase(job)
    return json_response(_deleted(job.id))


async def find_job(request: web.Request, job_id: str) -> Job:
    """Return a job of the caller's own.

    Raises:
        JobsUnavailable: this server keeps no jobs.
        JobNotFound: there is none of this id.
    """
    job = await service_of(request.app[DEPS]).store.find(job_id)
    if job is None or job.owner != client_of(request).name:
        raise JobNotFound(f"There is no job '{job_id}'.")
    return job


async def result_of(request: web.Request, job: Job) -> Transcript:
    """Return what a job has heard.

    Raises:
        JobNotCompleted: there is no result (any more).
        RouterError: the job's own error.
    """
    if job.status is JobStatus.FAILED and job.error is not None:
        raise JobFailed(job.error)
    transcript = await service_of(request.app[DEPS]).store.transcript(job.id)
    if transcript is None:
        raise JobNotCompleted(f"The job '{job.id}' is {job.status}; it has no result.")
    return transcript


async def _create(
    request: web.Request, fields: Sequence[tuple[str, str]], upload: Upload | None
) -> web.Response:
    task = choice("task", Fields(fields).text("task") or Task.TRANSCRIBE, Task)
    order = order_of(request, with_model(fields), task)
    webhook = webhook_of(fields)
    return await made(request, NewJob(order=order, fields=fields, upload=upload, webhook=webhook))


async def _named(request: web.Request) -> Job:
    return await find_job(request, request.match_info["id"])


async def _whole(request: web.Request, job: Job) -> Json:
    """Return a job with its place in the queue and its deliveries."""
    deps = request.app[DEPS]
    service = service_of(deps)
    body = _shown(deps, job)
    if job.status is JobStatus.QUEUED:
        body["queue_position"] = await service.store.ahead_of(job) + 1
        body["estimate_seconds"] = await service.begins_in_s(job)
    if job.webhook is not None:
        body["deliveries"] = deliveries_body(await service.store.deliveries(job.id))
    return body


def _shown(deps: ApiDeps, job: Job) -> Json:
    service = service_of(deps)
    tracker = service.tracker(job.id)
    body = job_body(job, report=None if tracker is None else tracker.report)
    if job.status is JobStatus.RUNNING:
        body["estimate_seconds"] = service.left_s(job.id)
    return body


def _deleted(job_id: str) -> Json:
    return {"id": job_id, "object": "job", "deleted": True}


def _event_id(body: Json) -> str:
    """Return what stands for an event. An estimate that has changed is no news."""
    data = encode_json({**body, "estimate_seconds": None})
    return hashlib.sha256(data).hexdigest()[:16]


def _frame(event_id: str, body: Json) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (event_id.encode(), encode_json(body))


def _wanted(request: web.Request, job: Job) -> ResponseOptions:
    """Return how to answer: what the query does not say is as the job's own form had it.

    Of that, what the format does not have is left out, which only the query can be blamed for.
    """
    query = list(request.query.items())
    named = {name.partition("[")[0] for name, _ in query}
    if "response_format" in named and Fields(query).text("response_format") not in VERBOSE:
        own_names_left_out = named | {GRANULARITIES}
    else:
        own_names_left_out = named
    own = [
        (name, value)
        for name, value in job.options.get("fields", [])
        if name.partition("[")[0] not in own_names_left_out
    ]
    order = parse_order(
        [("model", job.request.model), *own, *query], task=job.request.task, request_id=""
    )
    if order.response.stream:
        raise InvalidParameter("A result is not streamed.", param="stream")
    if order.response.response_format in DIARIZED and job.request.speakers is None:
        raise InvalidParameter(
            "The job was made without diarization: nobody knows who speaks.",
            param="response_format",
        )
    return order.response


@asynccontextmanager
async def _set_with(event: asyncio.Event, other: asyncio.Event) -> AsyncIterator[None]:
    """Set the other event when one is set, until the block ends."""

    async def pass_on() -> None:
        await event.wait()
        other.set()

    tasks = Tasks()
    tasks.spawn(pass_on(), name="watch stop")
    try:
        yield
    finally:
        await tasks.close()
