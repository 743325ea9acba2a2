"""`/v1/jobs`: transcriptions that outlive their request."""

import asyncio
import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from whisper_router.api import formats
from whisper_router.api.auth import client_of
from whisper_router.api.body import leave_waiting, send_continue
from whisper_router.api.deps import DEPS, ApiDeps, JobService
from whisper_router.api.fields import Fields, choice, integer
from whisper_router.api.forms import DIARIZED, Order, ResponseOptions, parse_order
from whisper_router.api.job_body import deliveries_body, job_body
from whisper_router.api.job_order import fields_of, response_fields, webhook_of
from whisper_router.api.recognise import order_of, url_in, with_model
from whisper_router.api.sse import HEADERS, HEARTBEAT
from whisper_router.api.wire import encode_json, json_response
from whisper_router.audio.media import pcm_format
from whisper_router.audio.upload import Upload, incoming_upload
from whisper_router.domain import Task
from whisper_router.errors import (
    InvalidParameter,
    InvalidRequest,
    MissingParameter,
    QueueFull,
    RouterError,
    Unavailable,
    UrlRefused,
)
from whisper_router.jobs.model import Job, JobAudio, JobStatus, Webhook
from whisper_router.jobs.webhook_headers import check_webhook

MAX_KEY = 255
MOST_LISTED, USUALLY_LISTED = 1000, 20
REFRESH_S = 0.25
"""How often events are looked at although only the progress may have changed."""
Json = dict[str, Any]


class JobNotFound(RouterError):
    """No job of this key has this id."""

    status, kind, code = 404, "invalid_request_error", "job_not_found"


class JobNotCompleted(RouterError):
    """There is no result: the job has not ended yet, or was cancelled."""

    status, kind, code = 409, "invalid_request_error", "job_not_completed"


class JobsUnavailable(Unavailable):
    """This server keeps no jobs."""

    code = "jobs_unavailable"
    retry_after_s = 60


class _JobFailed(RouterError):
    """The error that the job ended with."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["message"])
        self.status, self.kind = error["status"], error["type"]
        self.code, self.param = error["code"], error["param"]


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
    deps = request.app[DEPS]
    if request.content_type == "application/json":
        fields = fields_of(await request.read())
        return await _submit(request, fields, None)
    service = service_of(deps)
    await send_continue(request, limit_bytes=deps.upload_limits.max_upload_bytes)
    async with incoming_upload(request, service.spool, deps.upload_limits) as incoming:
        upload = await incoming.complete()
        return await _submit(request, upload.fields, upload)


async def submit_upload(request: web.Request, upload: Upload, order: Order) -> web.Response:
    """Make a job of what was sent to a route that usually answers at once."""
    return await _queue(request, upload.fields, upload, order)


async def list_jobs(request: web.Request) -> web.Response:
    """GET /v1/jobs: the newest first; `status`, `limit` and `after` choose among them."""
    deps = request.app[DEPS]
    query = Fields(list(request.query.items()))
    status = query.text("status")
    limit = integer("limit", query.text("limit"), low=1, high=MOST_LISTED) or USUALLY_LISTED
    found = await service_of(deps).store.page(
        owner=client_of(request).name,
        status=None if status is None else choice("status", status, JobStatus),
        limit=limit + 1,
        after=query.text("after"),
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
    has changed since.
    """
    job = await _named(request)
    service = service_of(request.app[DEPS])
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    last = request.headers.get("Last-Event-ID", "")
    with service.watch(job.id) as changed:
        while True:
            changed.clear()
            found = await service.store.find(job.id)
            if found is None:
                return response
            data = encode_json(await _whole(request, found))
            event_id = hashlib.sha256(data).hexdigest()[:16]
            is_news = event_id != last
            frame = b"id: %b\ndata: %b\n\n" % (event_id.encode(), data) if is_news else HEARTBEAT
            try:
                await response.write(frame)
            except ConnectionError:
                return response
            if found.has_ended:
                return response
            last = event_id
            await _changed(service, job.id, changed, heartbeat_s=request.app[DEPS].heartbeat_s)


async def show_result(request: web.Request) -> web.Response:
    """GET /v1/jobs/{id}/result: in the format of the job, or in any other."""
    job = await _named(request)
    if job.status is JobStatus.FAILED and job.error is not None:
        raise _JobFailed(job.error)
    transcript = await service_of(request.app[DEPS]).store.transcript(job.id)
    if transcript is None:
        raise JobNotCompleted(f"The job '{job.id}' is {job.status}; it has no result.")
    return formats.respond(transcript, _wanted(request, job))


async def cancel_job(request: web.Request) -> web.Response:
    """POST /v1/jobs/{id}/cancel: its worker is free when this is answered."""
    job = await _named(request)
    await service_of(request.app[DEPS]).cancel(job)
    return json_response(await _whole(request, await _named(request)))


async def delete_job(request: web.Request) -> web.Response:
    """DELETE /v1/jobs/{id}: cancel it if need be, and erase its audio and its text."""
    job = await _named(request)
    await service_of(request.app[DEPS]).erase(job)
    return json_response({"id": job.id, "object": "job", "deleted": True})


def service_of(deps: ApiDeps) -> JobService:
    """Return what runs jobs. Raises JobsUnavailable."""
    if deps.jobs is None:
        raise JobsUnavailable(
            "This server keeps no jobs: jobs.enabled is false, or their directory cannot be used "
            "(its log says why)."
        )
    return deps.jobs


async def _submit(
    request: web.Request, fields: Sequence[tuple[str, str]], upload: Upload | None
) -> web.Response:
    task = choice("task", Fields(fields).text("task") or Task.TRANSCRIBE, Task)
    return await _queue(request, fields, upload, order_of(request, with_model(fields), task))


async def _queue(
    request: web.Request,
    fields: Sequence[tuple[str, str]],
    upload: Upload | None,
    order: Order,
) -> web.Response:
    deps = request.app[DEPS]
    service, job_id = service_of(deps), f"job_{uuid.uuid4().hex}"
    _check_source(fields, upload)
    webhook = webhook_of(fields)
    _check_addresses(deps, fields, webhook)
    if (await service.store.counts()).get(JobStatus.QUEUED, 0) >= service.max_queued:
        raise QueueFull(f"{service.max_queued} jobs are queued already (jobs.max_queued).")
    can_time = deps.processes.pool(order.request.model).capabilities.word_timestamps
    wanted = replace(
        order.request,
        request_id=job_id,
        word_timestamps=can_time or order.request.word_timestamps,  # for any format later
    )
    audio = await _audio(service, fields, upload, job_id)
    made = await service.submit(
        Job(
            id=job_id,
            owner=client_of(request).name,
            status=JobStatus.QUEUED,
            request=wanted,
            audio=audio,
            options={"fields": response_fields(fields)},
            webhook=webhook,
            idempotency_key=_idempotency_key(request),
            created_s=time.time(),
        )
    )
    if made.id != job_id and audio.path is not None:
        await asyncio.to_thread(audio.path.unlink, missing_ok=True)
    headers = {"Location": f"/v1/jobs/{made.id}"}
    return json_response(await _whole(request, made), status=202, headers=headers)


def _check_source(fields: Sequence[tuple[str, str]], upload: Upload | None) -> None:
    """Raise InvalidRequest unless there is either a file or an address."""
    url = url_in(fields)
    has_file = upload is not None and upload.file is not None
    if has_file and url is not None:
        raise InvalidParameter("'file' and 'url' cannot be given together.", param="url")
    if not has_file and url is None:
        raise MissingParameter("file")


def _check_addresses(
    deps: ApiDeps, fields: Sequence[tuple[str, str]], webhook: Webhook | None
) -> None:
    """Raise UrlRefused if an address can be seen to be one that may not be asked."""
    if (url := url_in(fields)) is not None:
        deps.fetcher.check(url)
    if webhook is not None:
        check_webhook(webhook, param="webhook")
        try:
            deps.fetcher.check(webhook.url)
        except UrlRefused as error:
            error.param = "webhook"
            raise


async def _audio(
    service: JobService, fields: Sequence[tuple[str, str]], upload: Upload | None, job_id: str
) -> JobAudio:
    if upload is None or upload.file is None:
        return JobAudio(url=url_in(fields))
    return JobAudio(
        path=await asyncio.to_thread(service.adopt, upload.file, job_id),
        name=upload.filename or "",
        pcm=pcm_format(upload.content_type),
    )


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > MAX_KEY:
        raise InvalidRequest(f"The Idempotency-Key header has more than {MAX_KEY} characters.")
    return key or None


async def _named(request: web.Request) -> Job:
    job_id = request.match_info["id"]
    job = await service_of(request.app[DEPS]).store.find(job_id)
    if job is None or job.owner != client_of(request).name:
        raise JobNotFound(f"There is no job '{job_id}'.")
    return job


async def _whole(request: web.Request, job: Job) -> Json:
    """Return a job with its place in the queue and its deliveries."""
    deps = request.app[DEPS]
    service = service_of(deps)
    body = _shown(deps, job)
    if job.status is JobStatus.QUEUED:
        body["queue_position"] = await service.store.ahead_of(job) + 1
    if job.webhook is not None:
        body["deliveries"] = deliveries_body(await service.store.deliveries(job.id))
    return body


def _shown(deps: ApiDeps, job: Job) -> Json:
    tracker = None if deps.jobs is None else deps.jobs.tracker(job.id)
    waiting = None
    if tracker is not None:
        waiting = deps.queues.place(key=job.owner, request_id=job.id)
    return job_body(
        job,
        report=None if tracker is None else tracker.report,
        eta_s=None if waiting is None else waiting.estimate_s,
    )


def _wanted(request: web.Request, job: Job) -> ResponseOptions:
    """Return how to answer: what the query does not say is as the job's own form had it."""
    query = list(request.query.items())
    named = {name.partition("[")[0] for name, _ in query}
    own = [
        (name, value)
        for name, value in job.options.get("fields", [])
        if name.partition("[")[0] not in named
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


async def _changed(
    service: JobService, job_id: str, changed: asyncio.Event, *, heartbeat_s: float
) -> None:
    """Return when something may have changed: the status, or a running job's progress."""
    wait_s = REFRESH_S if service.tracker(job_id) is not None else heartbeat_s
    try:
        async with asyncio.timeout(wait_s):
            await changed.wait()
    except TimeoutError:
        return


async def result_of(request: web.Request, job: Job):
    """SHIM."""
    if job.status is JobStatus.FAILED and job.error is not None:
        raise _JobFailed(job.error)
    transcript = await service_of(request.app[DEPS]).store.transcript(job.id)
    if transcript is None:
        raise JobNotCompleted(f"The job '{job.id}' is {job.status}; it has no result.")
    return transcript
