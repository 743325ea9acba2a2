"""What whisperX API server tells its operators: its state, its models, and their loading."""

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from whisper_router.api.auth import require_admin
from whisper_router.api.deps import DEPS
from whisper_router.api.fields import Fields
from whisper_router.api.model_access import models_of
from whisper_router.api.wire import json_response
from whisper_router.audio.upload import read_body, spool_upload
from whisper_router.errors import InvalidRequest, MissingParameter, ModelNotFound, RouterError
from whisper_router.languages import language_code
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolStatus

STARTED_S = time.monotonic()
ALIGNMENT = "dtw"
SUBTITLES = ("srt", "vtt", "aud", "vtt_json", "tsv", "lrc")


class NotLoaded(RouterError):
    """There is nothing of this name to load or to unload."""

    status, kind, code = 404, "invalid_request_error", "model_not_found"


def routes(root: str) -> Sequence[web.RouteDef]:
    """Return the routes under a path."""
    return [
        web.get(f"{root}/healthcheck", healthcheck),
        web.get(f"{root}/info", info),
        web.get(f"{root}/models/catalog", catalog),
        web.get(f"{root}/models/list", list_models),
        web.post(f"{root}/models/load", load_model),
        web.post(f"{root}/models/unload", unload_model),
        web.get(f"{root}/align_models/list", list_alignments),
        web.post(f"{root}/align_models/load", load_alignment),
        web.post(f"{root}/align_models/unload", unload_alignment),
        web.get(f"{root}/diarize_models/list", list_diarizations),
        web.post(f"{root}/diarize_models/load", load_diarization),
        web.post(f"{root}/diarize_models/unload", unload_diarization),
    ]


async def healthcheck(_request: web.Request) -> web.Response:
    """GET /healthcheck: the process answers."""
    return json_response({"status": "healthy"})


async def info(request: web.Request) -> web.Response:
    """GET /info: what runs here of what the key may use; `detail=full` says more of the models."""
    deps = request.app[DEPS]
    statuses = await _statuses(request)
    most = sum(status.capacity or 0 for status in statuses if status.state is State.READY)
    in_use = sum(status.leases or 0 for status in statuses)
    body: dict[str, Any] = {
        "version": deps.service.version,
        "mode": "direct",
        "uptime_seconds": round(time.monotonic() - STARTED_S, 3),
        "max_upload_size_bytes": deps.upload_limits.max_upload_bytes,
        "subtitle_formats_available": list(SUBTITLES),
        "backends": {
            "transcription": sorted({status.engine for status in statuses}),
            "alignment": sorted(deps.stages.alignments),
            "diarization": sorted(deps.stages.diarizations),
        },
        "concurrent_transcriptions": {
            "in_use": in_use,
            "available": max(0, most - in_use),
            "max": most,
            "saturation": round(in_use / most, 3) if most else 0.0,
        },
        "loaded_models": {
            "transcription": [item.alias for item in statuses if item.state is State.READY]
        },
        "shutting_down": False,
        "http_in_flight": deps.progress.running(),
    }
    if request.query.get("detail") == "full":
        body["models"] = {status.alias: status.state.value for status in statuses}
    return json_response(body)


async def catalog(request: web.Request) -> web.Response:
    """GET /models/catalog: every model that is here, the default one, and what is loaded."""
    models = await models_of(request).models()
    return json_response(
        {
            "models": [entry.id for entry in models],
            "default": "whisper-1",
            "loaded": list(models_of(request).loaded()),
        }
    )


async def list_models(request: web.Request) -> web.Response:
    """GET /models/list: what is loaded."""
    return json_response({"models": list(models_of(request).loaded())})


async def load_model(request: web.Request) -> web.Response:
    """POST /models/load: answers once the model serves."""
    pool, name = await _pool(request)
    if pool.brief().state is not State.READY:
        await pool.warm()
    return json_response({"status": "success", "model": name})


async def unload_model(request: web.Request) -> web.Response:
    """POST /models/unload: answers once its memory is free."""
    pool, name = await _pool(request)
    if pool.brief().state is not State.READY:
        raise NotLoaded(f"Model {name} not found")
    await pool.unload(force=False)
    return json_response({"status": "success"})


async def list_alignments(request: web.Request) -> web.Response:
    """GET /align_models/list: the alignments, which need no loading."""
    return json_response({"models": sorted(request.app[DEPS].stages.alignments)})


async def load_alignment(request: web.Request) -> web.Response:
    """POST /align_models/load: the engine's alignment is there for every language."""
    await require_admin(request)
    language = await _field(request, "language")
    if language_code(language) is None:
        raise NotLoaded(f"No alignment model for language {language[:80]}")
    return json_response({"status": "success", "model": ALIGNMENT})


async def unload_alignment(request: web.Request) -> web.Response:
    """POST /align_models/unload: there is none beside the engines."""
    await require_admin(request)
    language = await _field(request, "language")
    raise NotLoaded(
        f"Model {language[:80]} not found: words are aligned by the engine itself, whose model "
        "/models/unload unloads."
    )


async def list_diarizations(request: web.Request) -> web.Response:
    """GET /diarize_models/list: the diarizations that are installed."""
    return json_response({"models": sorted(request.app[DEPS].stages.diarizations)})


async def load_diarization(request: web.Request) -> web.Response:
    """POST /diarize_models/load: what is installed is ready."""
    await require_admin(request)
    name = await _field(request, "model")
    if name not in request.app[DEPS].stages.diarizations:
        raise NotLoaded(f"Model {name[:80]} not found: it is not installed here")
    return json_response({"status": "success", "model": name})


async def unload_diarization(request: web.Request) -> web.Response:
    """POST /diarize_models/unload: nothing of them is kept in memory."""
    await require_admin(request)
    name = await _field(request, "model")
    raise NotLoaded(f"Model {name[:80]} not found: no diarization keeps a model in memory")


async def _statuses(request: web.Request) -> Sequence[PoolStatus]:
    """Return those of the models that the request's key may see."""
    models = models_of(request)

    def is_seen(status: PoolStatus) -> bool:
        try:
            models.check(status.alias)
        except ModelNotFound:
            return False
        return True

    return [status for status in await request.app[DEPS].processes.statuses() if is_seen(status)]


async def _pool(request: web.Request) -> tuple[ModelPool, str]:
    await require_admin(request)
    name = await _field(request, "model")
    return request.app[DEPS].processes.pool(name), name


async def _field(request: web.Request, name: str) -> str:
    value = Fields([*await _form(request), *request.query.items()]).text(name)
    if value is None:
        raise MissingParameter(name)
    return value.strip()


async def _form(request: web.Request) -> Sequence[tuple[str, str]]:
    """Return the fields of the body, if it is a form. Raises RouterError."""
    deps = request.app[DEPS]
    if request.content_type == "multipart/form-data":
        async with spool_upload(request, deps.spool, deps.upload_limits) as upload:
            return upload.fields
    if request.content_type == "application/x-www-form-urlencoded":
        body = (await read_body(request, deps.upload_limits)).decode(errors="replace")
        try:
            return parse_qsl(body, max_num_fields=deps.upload_limits.max_fields)
        except ValueError as error:
            raise InvalidRequest(f"The form cannot be read: {error}.") from error
    return []
