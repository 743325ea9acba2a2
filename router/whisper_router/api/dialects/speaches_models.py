"""speaches: which models there are and which are loaded, and for administrators to change that."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from aiohttp import web

from whisper_router.api.auth import require_admin
from whisper_router.api.fields import choice
from whisper_router.api.formats import Json
from whisper_router.api.model_access import models_of
from whisper_router.api.services import ModelEntry
from whisper_router.api.wire import json_response
from whisper_router.errors import INVALID_REQUEST, ModelNotFound, RouterError

MODEL, RUNNING = "/v1/models/{id:.+}", "/api/ps/{id:.+}"


class ModelTask(StrEnum):
    """What a model of that server may be for; ours are all for the first."""

    SPEECH_RECOGNITION = "automatic-speech-recognition"
    TEXT_TO_SPEECH = "text-to-speech"
    SPEAKER_EMBEDDING = "speaker-embedding"
    VOICE_ACTIVITY_DETECTION = "voice-activity-detection"
    SPEAKER_DIARIZATION = "speaker-diarization"


class ModelLoaded(RouterError):
    """The model that is to be loaded is loaded."""

    status, kind, code = 409, INVALID_REQUEST, "model_loaded"


class ModelNotLoaded(RouterError):
    """The model that is to be unloaded is not loaded."""

    status, kind, code = 404, INVALID_REQUEST, "model_not_loaded"


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/v1/models", list_models),
        web.get("/v1/registry", list_registry),
        web.get("/v1/audio/models", list_voice_models),
        web.get("/v1/audio/voices", list_voices),
        web.get(MODEL, retrieve_model),
        web.post(MODEL, download_model),
        web.delete(MODEL, delete_model),
        web.get("/api/ps", list_loaded),
        web.post(RUNNING, load),
        web.delete(RUNNING, unload),
    ]


async def list_models(request: web.Request) -> web.Response:
    """GET /v1/models: the models of the OpenAI API's list, with languages and task."""
    return _listed(request, await models_of(request).models())


async def list_registry(request: web.Request) -> web.Response:
    """GET /v1/registry: every model that may be named; `state` tells which are not here."""
    return _listed(request, await models_of(request).catalogue())


async def list_voice_models(_request: web.Request) -> web.Response:
    """GET /v1/audio/models: models that speak, of which there are none."""
    return json_response({"models": [], "object": "list"})


async def list_voices(_request: web.Request) -> web.Response:
    """GET /v1/audio/voices: there are none."""
    return json_response({"voices": [], "object": "list"})


async def retrieve_model(request: web.Request) -> web.Response:
    """GET /v1/models/{id}; ids may hold slashes, percent-encoded or not."""
    try:
        entry = await models_of(request).model(_id(request))
    except ModelNotFound as error:
        error.param = "model"
        raise
    return json_response(_body(entry))


async def download_model(request: web.Request) -> web.Response:
    """POST /v1/models/{id}: answers once the file is here; 201 is for one that was."""
    await require_admin(request)
    if await models_of(request).download(_id(request)):
        return web.Response(text=f"Model '{_id(request)}' downloaded")
    return web.Response(text=f"Model '{_id(request)}' already exists", status=201)


async def delete_model(request: web.Request) -> web.Response:
    """DELETE /v1/models/{id}: the file goes, the name stays."""
    await require_admin(request)
    await models_of(request).remove(_id(request))
    return json_response({"detail": f"Model '{_id(request)}' deleted"})


async def list_loaded(request: web.Request) -> web.Response:
    """GET /api/ps."""
    return json_response({"models": list(models_of(request).loaded())})


async def load(request: web.Request) -> web.Response:
    """POST /api/ps/{id}: answers once an engine serves the model."""
    await require_admin(request)
    if not await models_of(request).load(_id(request)):
        raise ModelLoaded(f"Model '{_id(request)}' is already loaded.")
    return json_response({"detail": f"Model '{_id(request)}' loaded"}, status=201)


async def unload(request: web.Request) -> web.Response:
    """DELETE /api/ps/{id}: answers once its memory is back; 409 while somebody uses it."""
    await require_admin(request)
    if not await models_of(request).unload(_id(request)):
        raise ModelNotLoaded(f"Model '{_id(request)}' is not loaded.")
    return json_response({"detail": f"Model '{_id(request)}' unloaded"})


def _id(request: web.Request) -> str:
    return request.match_info["id"]


def _listed(request: web.Request, entries: Iterable[ModelEntry]) -> web.Response:
    text = request.query.get("task", "").strip()
    wanted = choice("task", text, ModelTask) if text else ModelTask.SPEECH_RECOGNITION
    data = [_body(entry) for entry in entries] if wanted is ModelTask.SPEECH_RECOGNITION else []
    return json_response({"object": "list", "data": data})


def _body(entry: ModelEntry) -> Json:
    return {
        **entry.extra,
        "id": entry.id,
        "object": "model",
        "created": entry.created,
        "owned_by": entry.owned_by,
        "language": list(entry.languages),
        "task": ModelTask.SPEECH_RECOGNITION.value,
    }
