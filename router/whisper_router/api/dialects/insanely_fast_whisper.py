"""The API of insanely-fast-whisper-api: tasks by the address of their audio, and webhooks.

What is kept of a task for as long as the server keeps jobs is what its own server forgets at once.
"""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from aiohttp import web

from whisper_router.api.auth import client_of
from whisper_router.api.context import SAFE_ID
from whisper_router.api.deps import DEPS, Dialect, DialectOptions
from whisper_router.api.dialects.kept import (
    Kept,
    OwnId,
    find_kept,
    make_kept_job,
    own_id_of,
    recognise_kept,
    running,
)
from whisper_router.api.fields import Fields, boolean, choice
from whisper_router.api.formats import JSON_TYPE
from whisper_router.api.forms import Order
from whisper_router.api.job_making import NewJob, check_target, service_of
from whisper_router.api.job_order import fields_of, webhook_of
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import Sent, named_url, order_of, tracked, with_model
from whisper_router.api.wire import json_response
from whisper_router.audio.upload import read_body
from whisper_router.domain import Task, Transcript
from whisper_router.errors import (
    InvalidParameter,
    InvalidRequest,
    MissingParameter,
    RouterError,
)
from whisper_router.jobs.model import Job, JobStatus, Webhook
from whisper_router.jobs.store import JobStore

DETAILED = True
DIALECT = Dialect.INSANELY_FAST_WHISPER.value
NO_LANGUAGE = "none"
AT_A_TIME = 1000
SINGLE = frozenset(
    {"url", "task", "language", "timestamp", "batch_size", "diarise_audio", "is_async"}
    | {"managed_task_id", "model"}
)
"""Fields whose value is neither a list nor an object."""
Json = dict[str, Any]


class Timestamp(StrEnum):
    """What the chunks of an answer are."""

    CHUNK = "chunk"
    WORD = "word"


class TaskNotFound(RouterError):
    """No task of this key has this id."""

    status, kind, code = 404, "invalid_request_error", "task_not_found"


def routes(_options: DialectOptions) -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.post("/", create_task),
        web.get("/tasks", list_tasks),
        web.get("/status/{id}", show_task),
        web.delete("/cancel/{id}", cancel_task),
    ]


@for_text
async def create_task(request: web.Request) -> web.Response:
    """POST /: transcribe what is at an address; the answer is the text, or at once with `is_async`.

    Raises:
        RouterError: the body cannot be understood, or the work failed.
    """
    sent = await _sent(request)
    form = Fields(sent)
    task_id = _task_id(request, form)
    timestamp = choice("timestamp", form.text("timestamp") or Timestamp.CHUNK, Timestamp)
    task = choice("task", form.text("task") or Task.TRANSCRIBE, Task)
    fields = _fields(sent, form, timestamp)
    order, webhook = _named(order_of(request, fields, task), task_id), webhook_of(fields)
    options = {"dialect": DIALECT, "task_id": task_id, "timestamp": timestamp}
    url = named_url(request, fields)
    if boolean("is_async", form.text("is_async")):
        new = NewJob(order=order, fields=fields, url=url, options=options)
        return await _begin(request, new, webhook)
    if webhook is not None:
        check_target(request, webhook)
    if url is None:
        raise MissingParameter("url")
    kept = Kept(id=_own(task_id), options=options, webhook=webhook)
    async with tracked(request, task_id) as tracker:
        transcript = await recognise_kept(request, order, Sent(url=url), tracker, kept)

    def written() -> web.Response:
        output = output_of(transcript, timestamp)
        return json_response({"output": output, "status": "completed", "task_id": task_id})

    return await request.app[DEPS].rendering.write(transcript, written)


async def list_tasks(request: web.Request) -> web.Response:
    """GET /tasks: those that wait or run, and those whose clients wait for them."""
    tasks, jobs = list(running(request, DIALECT)), request.app[DEPS].jobs
    if jobs is not None:
        for status in (JobStatus.RUNNING, JobStatus.QUEUED):
            tasks += [job.options["task_id"] async for job in _jobs(request, jobs.store, status)]
    return json_response({"tasks": tasks})


async def show_task(request: web.Request) -> web.Response:
    """GET /status/{id}."""
    if request.match_info["id"] in running(request, DIALECT):
        return json_response({"status": "processing"})
    job = await _named_job(request)
    if not job.has_ended:
        return json_response({"status": "processing"})
    if job.status is JobStatus.CANCELLED:
        return json_response({"status": "cancelled"})
    transcript = await service_of(request.app[DEPS]).store.transcript(job.id)
    rendering = request.app[DEPS].rendering
    return await rendering.run(lambda: json_response(ending(job, transcript)))


async def cancel_task(request: web.Request) -> web.Response:
    """DELETE /cancel/{id}: the worker is free when this is answered."""
    if request.match_info["id"] in running(request, DIALECT):
        raise InvalidRequest(
            "This task was not begun with is_async: it ends when its client leaves."
        )
    job = await _named_job(request)
    is_new = job.status is not JobStatus.CANCELLED
    if is_new and not await service_of(request.app[DEPS]).cancel(job):
        raise InvalidRequest("The task has ended already.")
    return json_response({"status": "cancelled"})


def notice(job: Job, transcript: Transcript | None) -> Json:
    """Return the body of the webhook of an ended task."""
    if job.status is JobStatus.CANCELLED:
        return {"error": "The task was cancelled.", "status": "error", "task_id": _own_id(job)}
    return {**ending(job, transcript), "task_id": _own_id(job)}


def ending(job: Job, transcript: Transcript | None) -> Json:
    """Return how a task has ended."""
    if transcript is None:
        return {"error": (job.error or {}).get("message", ""), "status": "error"}
    output = output_of(transcript, job.options.get("timestamp", Timestamp.CHUNK))
    return {"output": output, "status": "completed"}


def output_of(transcript: Transcript, timestamp: str) -> Json:
    """Return text and chunks (segments, or words) with their times in seconds.

    Texts of chunks begin with the space before them, as the pipeline's that the dialect has them
    from do. Where speakers were told apart, `speakers` has a turn for each segment.
    """
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    if timestamp == Timestamp.WORD:
        chunks = [
            {"timestamp": [_s(word.start_s), _s(word.end_s)], "text": f" {word.text}"}
            for segment in segments
            for word in segment.words
        ]
    else:
        chunks = [
            {"timestamp": [_s(segment.start_s), _s(segment.end_s)], "text": segment.text}
            for segment in segments
        ]
    body: Json = {"text": transcript.text, "chunks": chunks}
    if any(segment.speaker for segment in segments):
        body["speakers"] = [
            {
                "speaker": segment.speaker,
                "timestamp": [_s(segment.start_s), _s(segment.end_s)],
                "text": segment.text,
            }
            for segment in segments
        ]
    return body


async def _sent(request: web.Request) -> Sequence[tuple[str, str]]:
    """Return the body, which is JSON: a browser sends that for no other site's page unasked."""
    if request.content_type != JSON_TYPE:
        raise InvalidRequest(f"The body has to be JSON, with Content-Type: {JSON_TYPE}.")
    return fields_of(await read_body(request, request.app[DEPS].upload_limits), single=SINGLE)


async def _begin(request: web.Request, new: NewJob, webhook: Webhook | None) -> web.Response:
    if webhook is None:
        raise InvalidParameter("Webhook is required for async tasks.", param="webhook")
    check_target(request, webhook)
    own = _own(new.options["task_id"])
    job = await make_kept_job(request, own, replace(new, webhook=webhook))
    return json_response(
        {
            "detail": "Task is being processed in the background",
            "status": "processing",
            "task_id": _own_id(job),
        }
    )


async def _jobs(request: web.Request, store: JobStore, status: JobStatus) -> AsyncIterator[Job]:
    """Yield the caller's tasks of this status; other jobs may lie between them."""
    owner, after = client_of(request).name, None
    while found := await store.page(owner=owner, status=status, limit=AT_A_TIME, after=after):
        for job in found:
            if job.options.get("dialect") == DIALECT:
                yield job
        after = found[-1].id


def _fields(
    sent: Sequence[tuple[str, str]], form: Fields, timestamp: Timestamp
) -> Sequence[tuple[str, str]]:
    """Return the body as fields of our own form."""
    fields = [pair for pair in with_model(sent) if pair[0] != "language"]
    language = form.text("language")
    if language is not None and language.strip().lower() != NO_LANGUAGE:
        fields.append(("language", language))
    if timestamp is Timestamp.WORD:
        fields.append(("align", "true"))
    return fields


def _own(task_id: str) -> OwnId:
    return OwnId(dialect=DIALECT, own_id=task_id)


def _task_id(request: web.Request, form: Fields) -> str:
    task_id = own_id_of(request, form.text("managed_task_id"), str(uuid.uuid4()))
    if not SAFE_ID.fullmatch(task_id):
        raise InvalidParameter(
            "'managed_task_id' is made of at most 128 letters, digits and the signs . _ -",
            param="managed_task_id",
        )
    return task_id


def _named(order: Order, task_id: str) -> Order:
    return replace(order, request=replace(order.request, request_id=task_id))


async def _named_job(request: web.Request) -> Job:
    job = await find_kept(request, _own(request.match_info["id"]))
    if job is None:
        raise TaskNotFound("Task not found")
    return job


def _own_id(job: Job) -> str:
    return str(job.options.get("task_id", job.id))


def _s(time_s: float) -> float:
    return round(time_s, 3)
