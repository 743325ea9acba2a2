"""The OpenAI audio API: transcriptions, translations, models."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from aiohttp import web

from whisper_router.api import formats, sse
from whisper_router.api.auth import client_of
from whisper_router.api.body import leave_waiting, send_continue
from whisper_router.api.context import FIRST_TURN, REQUEST_ID
from whisper_router.api.deps import DEPS, ApiDeps, ModelEntry
from whisper_router.api.fields import Fields, boolean
from whisper_router.api.forms import Order, parse_order
from whisper_router.api.jobs import submit_upload
from whisper_router.api.relay import check_hops, send_on, via
from whisper_router.api.wire import json_response
from whisper_router.audio.media import pcm_format
from whisper_router.audio.upload import Upload, incoming_upload
from whisper_router.domain import Task, TranscriptEvent
from whisper_router.errors import (
    InvalidParameter,
    MissingParameter,
    ModelNotFound,
    PermissionDenied,
)
from whisper_router.pipeline.transcribe import MediaSource, collect

PREFIXES = ("/v1", "")  # many programs leave /v1 out of their base URL


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


async def create_transcription(request: web.Request) -> web.StreamResponse:
    """POST /v1/audio/transcriptions."""
    return await _recognise(request, Task.TRANSCRIBE)


async def create_translation(request: web.Request) -> web.StreamResponse:
    """POST /v1/audio/translations."""
    return await _recognise(request, Task.TRANSLATE)


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models."""
    entries = await request.app[DEPS].models.models()
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
    deps, client = request.app[DEPS], client_of(request)
    await send_continue(request, limit_bytes=deps.upload_limits.max_upload_bytes)
    with (
        deps.progress.track(request[REQUEST_ID], owner=client.name) as tracker,
        deps.queues.watch(key=client.name, request_id=request[REQUEST_ID]) as request[FIRST_TURN],
    ):
        async with incoming_upload(request, deps.spool, deps.upload_limits) as incoming:
            model = await incoming.field("model")
            if deps.relay.is_remote(model):
                check_hops(request)
            if deps.relay.takes(model):
                return await send_on(request, incoming, task=task, client=client, tracker=tracker)
            upload = await incoming.complete()
            order = parse_order(
                upload.fields,
                task=task,
                request_id=request[REQUEST_ID],
                client=client,
                via=via(request),
            )
            deps.models.check(order.request.model)
            if boolean("async", Fields(upload.fields).text("async")):
                return await submit_upload(request, upload, order)
            async with _media_source(deps, upload) as media:
                events = deps.transcriber.run(order.request, media, tracker)
                with deps.models.in_use(order.request.model, order.keep_alive_s):
                    async with aclosing(events):
                        return await _answer(request, order, events)


async def _answer(
    request: web.Request, order: Order, events: AsyncGenerator[TranscriptEvent, None]
) -> web.StreamResponse:
    if order.response.stream:
        options = sse.StreamOptions(
            logprobs=order.response.logprobs, heartbeat_s=request.app[DEPS].heartbeat_s
        )
        return await sse.stream(request, events, options)
    return formats.respond(await collect(events, order.request), order.response)


@asynccontextmanager
async def _media_source(deps: ApiDeps, upload: Upload) -> AsyncIterator[MediaSource]:
    """Yield the file that was sent, or one with what is at the address that was sent."""
    url = Fields(upload.fields).text("url", "audio_url")
    if upload.file is not None:
        if url is not None:
            raise InvalidParameter("'file' and 'url' cannot be given together.", param="url")
        yield MediaSource(path=upload.file, pcm=pcm_format(upload.content_type))
        return
    if url is None:
        raise MissingParameter("file")
    target = deps.spool.new_path(".fetched")
    try:
        await deps.fetcher.fetch(url.strip(), target)
        yield MediaSource(path=target)
    finally:
        await asyncio.shield(asyncio.to_thread(target.unlink, missing_ok=True))


async def _named_model(request: web.Request) -> ModelEntry:
    try:
        return await request.app[DEPS].models.model(request.match_info["id"])
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
