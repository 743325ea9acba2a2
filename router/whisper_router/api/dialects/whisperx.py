"""The API of whisperX API server: transcriptions with its form, its answers, and their states."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import web

from whisper_router.api.auth import client_of
from whisper_router.api.body import leave_waiting
from whisper_router.api.context import REQUEST_ID
from whisper_router.api.deps import DEPS, STOPPING, ApiDeps, Dialect, DialectOptions
from whisper_router.api.dialects import whisperx_form, whisperx_ops, whisperx_status
from whisper_router.api.dialects.kept import (
    Kept,
    OwnId,
    find_kept,
    make_kept_job,
    own_id_of,
    recognise_kept,
    running,
)
from whisper_router.api.dialects.whisperx_form import WhisperXForm, parse_form
from whisper_router.api.fields import boolean, choice
from whisper_router.api.forms import DIARIZED, ResponseFormat
from whisper_router.api.job_making import NewJob, check_target, service_of
from whisper_router.api.jobs import result_of
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import Sent, named_url, order_of, reception
from whisper_router.api.sse import HEADERS, HEARTBEAT
from whisper_router.api.wire import encode_json, encode_text, json_response
from whisper_router.audio.upload import Upload
from whisper_router.domain import Task, Transcript
from whisper_router.errors import (
    InvalidParameter,
    InvalidRequest,
    MissingParameter,
    RouterError,
)
from whisper_router.jobs.model import Job, Webhook
from whisper_router.pipeline.progress import ENDED

DETAILED = True
DIALECT = Dialect.WHISPERX.value
PREFIX = "/whisperx"
STATES = "/v1/audio/transcriptions/{id}"
REFRESH_S = 0.5
"""How often the state of a job is looked at for its events."""
HEARTBEAT_LOOKS = 30
UNPROCESSABLE = 422
SENT_IDS = frozenset({"X-Request-ID", "X-Progress-ID"})


class RequestNotTracked(RouterError):
    """No request of this key has this id."""

    status, kind, code = 404, "invalid_request_error", "request_not_found"


class ResultNotThere(RouterError):
    """The request is known, and has no result yet."""

    status, kind, code = 404, "invalid_request_error", "result_not_found"


def routes(options: DialectOptions) -> Sequence[web.RouteDef]:
    """Return the routes: all under `/whisperx`, those that nobody else has also without."""
    roots = ("", PREFIX) if options.whisperx_root else (PREFIX,)
    made = [
        web.post(f"{root}/v1/audio/{name}", handler, expect_handler=leave_waiting)
        for root in roots
        for name, handler in (
            ("transcriptions", create_transcription),
            ("translations", create_translation),
        )
    ]
    for root in ("", PREFIX):
        made += [
            web.get(f"{root}{STATES}/status", show_status),
            web.get(f"{root}{STATES}/events", follow),
            web.get(f"{root}{STATES}/result", show_result),
            *whisperx_ops.routes(root),
        ]
    return made


@for_text
async def create_transcription(request: web.Request) -> web.Response:
    """POST /v1/audio/transcriptions, as whisperX API server has it."""
    return await _create(request, Task.TRANSCRIBE)


@for_text
async def create_translation(request: web.Request) -> web.Response:
    """POST /v1/audio/translations, as whisperX API server has it."""
    return await _create(request, Task.TRANSLATE)


async def show_status(request: web.Request) -> web.Response:
    """GET …/{id}/status."""
    return json_response(await _state(request))


async def follow(request: web.Request) -> web.StreamResponse:
    """GET …/{id}/events: the state whenever it has changed, until it is an end."""
    state = await _state(request)
    response = web.StreamResponse(headers=HEADERS)
    await response.prepare(request)
    last, silent = None, 0
    while True:
        is_news = state != last
        silent = 0 if is_news else silent + 1
        frame = b"data: " + encode_json(state) + b"\n\n" if is_news else b""
        if silent and silent % HEARTBEAT_LOOKS == 0:
            frame = HEARTBEAT
        try:
            if frame:
                await response.write(frame)
        except ConnectionError:
            return response
        if state["status"] in whisperx_status.ENDED or request.app[STOPPING].is_set():
            return response
        last = state
        await asyncio.sleep(REFRESH_S)
        try:
            state = await _state(request)
        except RouterError:
            with suppress(ConnectionError):
                await response.write(b"event: expired\ndata: {}\n\n")
            return response


async def show_result(request: web.Request) -> web.Response:
    """GET …/{id}/result: in the format of the request or in any other; nothing runs again."""
    job = await _job_of(request, _own_id(request))
    if job is None:
        raise RequestNotTracked(_not_tracked())
    if not job.has_ended:
        raise ResultNotThere(f"The request is {whisperx_status.STATUS[job.status]}.")
    try:
        transcript = await result_of(request, job)
    except RouterError as error:
        if error.status == InvalidRequest.status:
            error.status = UNPROCESSABLE
        raise
    sent = request.query.get("response_format") or job.options.get("response_format")
    wanted = choice("response_format", sent or ResponseFormat.JSON, ResponseFormat)
    if wanted in DIARIZED and job.request.speakers is None:
        raise InvalidParameter("The request was not diarised.", param="response_format")
    highlight = boolean("highlight_words", request.query.get("highlight_words"))
    if highlight is None:
        highlight = bool(job.options.get("highlight_words"))
    return await _answer(request.app[DEPS], transcript, job.options, wanted, highlight=highlight)


def notice(job: Job, transcript: Transcript | None) -> dict[str, Any]:
    """Return the body of the webhook of an ended request."""
    own_id = job.options.get("request_id", job.id)
    if transcript is None:
        error = job.error or {"message": f"The request was {job.status.value}.", "type": None}
        return {
            "job_id": own_id,
            "status": "error",
            "error": error["message"],
            "error_type": error.get("code") or error["type"],
        }
    wanted = ResponseFormat(job.options.get("response_format", ResponseFormat.JSON))
    highlight = bool(job.options.get("highlight_words"))
    result, _ = whisperx_form.answer(transcript, job.options, wanted, highlight=highlight)
    return {"job_id": own_id, "status": "ok", "result": result}


async def _create(request: web.Request, task: Task) -> web.Response:
    try:
        async with reception(request) as received:
            upload = await received.incoming.complete()
            form = parse_form(upload.fields, task)
            order = order_of(request, form.fields, task)
            is_sent = any(name in request.headers for name in SENT_IDS)
            given = request[REQUEST_ID] if is_sent else None
            own_id, webhook = own_id_of(request, given, request[REQUEST_ID]), _webhook(form)
            if webhook is not None:
                check_target(request, webhook, param="callback_url")
            options = {**form.options, "dialect": DIALECT, "request_id": own_id}
            if form.is_async:
                new = NewJob(order=order, upload=upload, webhook=webhook, options=options)
                return await _begin(request, replace(new, url=named_url(request, form.fields)))
            sent = Sent(
                upload=upload, url=named_url(request, form.fields), names={"url": "audio_url"}
            )
            _check_source(sent, upload)
            kept = Kept(id=_own(own_id), options=options, webhook=webhook, filename=upload.filename)
            transcript = await recognise_kept(request, order, sent, received.tracker, kept)
        deps, wanted = request.app[DEPS], form.response_format
        return await _answer(deps, transcript, options, wanted, highlight=form.highlight_words)
    except InvalidRequest as error:
        if error.status == InvalidRequest.status:
            error.status = UNPROCESSABLE  # what FastAPI answers
        raise


async def _begin(request: web.Request, new: NewJob) -> web.Response:
    job = await make_kept_job(request, _own(new.options["request_id"]), new)
    own_id = job.options.get("request_id", job.id)
    base = f"{request.path}/{own_id}"
    return json_response(
        {
            "request_id": own_id,
            "status": "accepted",
            "status_url": f"{base}/status",
            "result_url": f"{base}/result",
        },
        status=202,
    )


def _check_source(sent: Sent, upload: Upload) -> None:
    if upload.file is None and sent.url is None:
        raise MissingParameter("file")


def _webhook(form: WhisperXForm) -> Webhook | None:
    return None if form.callback_url is None else Webhook(url=form.callback_url.strip())


async def _answer(
    deps: ApiDeps,
    transcript: Transcript,
    options: Any,
    wanted: ResponseFormat,
    *,
    highlight: bool,
) -> web.Response:
    def written() -> web.Response:
        body, content_type = whisperx_form.answer(transcript, options, wanted, highlight=highlight)
        encoded = encode_text(body) if isinstance(body, str) else encode_json(body)
        return web.Response(body=encoded, headers={"Content-Type": content_type})

    return await deps.rendering.write(transcript, written)


async def _state(request: web.Request) -> dict[str, Any]:
    """Return the state of a request that runs, waits as a job, or has ended."""
    own_id, deps = _own_id(request), request.app[DEPS]
    tracker = deps.progress.find(own_id, owner=client_of(request).name)
    if tracker is not None and tracker.report.stage not in ENDED:
        kept = running(request, DIALECT).get(own_id)
        return whisperx_status.of_running(own_id, tracker, kept)
    job = await _job_of(request, own_id)
    if job is None:
        raise RequestNotTracked(_not_tracked())
    return whisperx_status.of_job(own_id, job, service_of(deps).tracker(job.id))


async def _job_of(request: web.Request, own_id: str) -> Job | None:
    """Return the job of a request, or any job of the caller's by its own id."""
    job, jobs = await find_kept(request, _own(own_id)), request.app[DEPS].jobs
    if job is None and jobs is not None:
        job = await jobs.store.find(own_id)
    return job if job is not None and job.owner == client_of(request).name else None


def _own(own_id: str) -> OwnId:
    return OwnId(dialect=DIALECT, own_id=own_id)


def _own_id(request: web.Request) -> str:
    own_id = request.match_info["id"]
    if not whisperx_status.SAFE_ID.fullmatch(own_id):
        raise InvalidRequest("Invalid request_id format.")
    return own_id


def _not_tracked() -> str:
    return "Request not tracked (unknown, expired, or never received)."
