"""The OpenAI audio API: transcriptions, translations, models."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial

from aiohttp import web

from whisper_router.api import formats, old_sse, sse
from whisper_router.api.auth import client_of
from whisper_router.api.body import leave_waiting
from whisper_router.api.deps import DEPS, Dialect
from whisper_router.api.fields import Fields, boolean
from whisper_router.api.forms import Order, ResponseFormat
from whisper_router.api.job_making import NewJob
from whisper_router.api.job_order import webhook_of
from whisper_router.api.jobs import made
from whisper_router.api.metering import has_audio_limit
from whisper_router.api.model_access import check_model, models_of
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import (
    Sent,
    named_url,
    order_of,
    reception,
    recognition,
    with_model,
)
from whisper_router.api.relay import check_hops, send_on
from whisper_router.api.services import ModelEntry
from whisper_router.api.wire import json_response
from whisper_router.audio.relayed import NotSentOn
from whisper_router.domain import Task, TranscriptEvent
from whisper_router.errors import ModelNotFound, PermissionDenied
from whisper_router.pipeline.transcribe import collect, transcript_of

PREFIXES = ("/v1", "")  # many programs leave /v1 out of their base URL
MODEL_IS_OPTIONAL = "/audio/transcriptions"
"""Where Open WebUI finds a fork of insanely-fast-whisper-api; OpenAI's clients add /v1."""


def routes() -> Sequence[web.RouteDef]:
    """Return the routes, with and without `/v1`."""
    return [route for prefix in PREFIXES for route in _routes(prefix)]


def _routes(prefix: str) -> Sequence[web.RouteDef]:
    transcriptions, translations = (
        web.post(f"{prefix}/audio/{name}", handler, expect_handler=leave_waiting)
        for name, handler in (
            ("transcriptions", create_transcription),
            ("translations", create_translation),
        )
    )
    one_model = prefix + "/models/{id:.+}"
    return [
        transcriptions,
        translations,
        web.get(f"{prefix}/models", list_models),
        web.get(one_model, retrieve_model),
        web.delete(one_model, delete_model),
    ]


@for_text
async def create_transcription(request: web.Request) -> web.StreamResponse:
    """POST /v1/audio/transcriptions."""
    return await _recognise(request, Task.TRANSCRIBE)


@for_text
async def create_translation(request: web.Request) -> web.StreamResponse:
    """POST /v1/audio/translations."""
    return await _recognise(request, Task.TRANSLATE)


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    entries = await models_of(request).models()
    return json_response({"object": "list", "data": [_model_body(entry) for entry in entries]})


async def retrieve_model(request: web.Request) -> web.Response:
    """GET /v1/models/{id}; ids may hold slashes, percent-encoded or not."""
    return json_response(_model_body(await _named_model(request)))


async def delete_model(request: web.Request) -> web.Response:
    """DELETE /v1/models/{id}: models come from the configuration, nobody deletes them here."""
    entry = await _named_model(request)
    raise PermissionDenied(
        f"The model '{entry.id}' is part of the server's configuration and cannot be deleted."
    )


async def _recognise(request: web.Request, task: Task) -> web.StreamResponse:
    deps = request.app[DEPS]
    async with reception(request) as received:
        incoming, tracker = received.incoming, received.tracker
        model = await incoming.field("model")
        if deps.relay.is_remote(model):
            check_hops(request)
        is_old = deps.dialects.old_sse
        # Another server's streams are new ones, and tell nobody how much audio it was.
        if deps.relay.takes(model) and not is_old and not has_audio_limit(request):
            check_model(request, (model or "").strip())
            client = client_of(request)
            with suppress(NotSentOn):
                return await send_on(request, incoming, task=task, client=client, tracker=tracker)
        upload = await incoming.complete()
        fields = _with_model(request, upload.fields)
        form = old_sse.read_form(fields) if is_old else None
        order = order_of(request, form.fields if form else fields, task)
        if boolean("async", Fields(fields).text("async")):
            new = NewJob(order=order, fields=fields, upload=upload, webhook=webhook_of(fields))
            return await made(request, new)
        sent = Sent(upload=upload, url=named_url(request, fields))
        async with recognition(deps, order, sent, tracker) as events:
            if form and form.wants_stream:
                return await old_sse.stream(request, events, order)
            return await _answer(request, order, events)


async def _answer(
    request: web.Request, order: Order, events: AsyncGenerator[TranscriptEvent, None]
) -> web.StreamResponse:
    if order.response.stream:
        options = sse.StreamOptions(
            logprobs=order.response.logprobs,
            heartbeat_s=request.app[DEPS].heartbeat_s,
            speakers=order.response.response_format is ResponseFormat.DIARIZED_JSON,
            whole=partial(_verbose, request, order) if order.response.verbose else None,
        )
        return await sse.stream(request, events, options)
    transcript = await collect(events, order.request)
    rendering = request.app[DEPS].rendering
    return await rendering.write(transcript, formats.respond, transcript, order.response)


async def _verbose(
    request: web.Request, order: Order, events: Sequence[TranscriptEvent]
) -> formats.Json:
    transcript = transcript_of(events, order.request)
    work = formats.verbose_body
    return await request.app[DEPS].rendering.write(transcript, work, transcript, order.response)


def _with_model(
    request: web.Request, fields: Sequence[tuple[str, str]]
) -> Sequence[tuple[str, str]]:
    """Return the fields with a model: who was made for insanely-fast-whisper-api may name none."""
    is_served = Dialect.INSANELY_FAST_WHISPER in request.app[DEPS].dialects.enabled
    return with_model(fields) if is_served and request.path == MODEL_IS_OPTIONAL else fields


async def _named_model(request: web.Request) -> ModelEntry:
    try:
        return await models_of(request).model(request.match_info["id"])
    except ModelNotFound as error:
        error.param = "model"
        raise


def _model_body(entry: ModelEntry) -> dict[str, object]:
    return {
        **entry.extra,
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owned_by,
    }
