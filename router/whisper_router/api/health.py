"""What the server is, and whether it lives and serves."""

from collections.abc import Sequence

from aiohttp import web

from whisper_router.api import dialects, ui
from whisper_router.api.deps import DEPS
from whisper_router.api.problems import base_url
from whisper_router.api.wire import json_response
from whisper_router.errors import Unavailable

ENDPOINTS = (
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "WS /v1/audio/transcriptions",
    "WS /v1/realtime",
    "POST /v1/realtime/client_secrets",
    "POST /v1/jobs",
    "GET /v1/jobs",
    "GET /v1/jobs/{id}",
    "GET /v1/jobs/{id}/events",
    "GET /v1/jobs/{id}/result",
    "POST /v1/jobs/{id}/cancel",
    "DELETE /v1/jobs/{id}",
    "GET /v1/models",
    "GET /v1/models/{id}",
    "GET /v1/progress/{id}",
    "GET /v1/queue",
    "GET /v1/processes",
    "GET /v1/processes/{id}",
    "GET /v1/processes/{id}/logs",
    "POST /v1/processes/{id}/load",
    "POST /v1/processes/{id}/unload",
    "POST /v1/processes/{id}/pin",
    "POST /v1/processes/{id}/unpin",
    "GET /v1/config",
    "POST /v1/config/reload",
    "GET /openapi.json",
    "GET /docs",
    "GET /ui",
    "GET /health",
    "GET /ready",
)


class NotReady(Unavailable):
    """Something that requests need is missing; the message says what."""

    code = "not_ready"


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/", front, name=ui.FRONT),
        web.get("/v1", describe),
        web.get("/v1/", describe),
        web.get("/health", health),
        web.get("/ready", ready),
    ]


async def front(request: web.Request) -> web.Response:
    """GET /: people are sent to the page, programs are told what this is."""
    return await (ui.to_page if ui.is_browser(request) else describe)(request)


async def describe(request: web.Request) -> web.Response:
    """GET / and GET /v1: what this is and where to read on."""
    deps, base = request.app[DEPS], base_url(request)
    service = deps.service
    root = base.removesuffix("/v1")
    return json_response(
        {
            "status": "ok",
            "name": service.name,
            "version": service.version,
            "description": "Speech recognition behind the OpenAI audio API.",
            "base_url": base,
            "docs": service.docs,
            "reference": f"{root}/docs",
            "openapi": f"{root}/openapi.json",
            "endpoints": list(dict.fromkeys([*ENDPOINTS, *dialects.endpoints(deps.dialects)])),
        }
    )


async def health(request: web.Request) -> web.Response:
    """GET /health: 200 as long as the event loop turns. Needs no key."""
    deps = request.app[DEPS]
    body = {"status": "ok", "name": deps.service.name, "version": deps.service.version}
    return json_response({**body, "failing": list(deps.models.failing())})


async def ready(request: web.Request) -> web.Response:
    """GET /ready: 200, or 503 with the reasons. Needs no key."""
    state = await request.app[DEPS].ready()
    if not state.ok:
        raise NotReady(" ".join(state.reasons) or "The server is not ready.")
    return json_response({"status": "ready"})
