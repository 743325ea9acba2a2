"""`/v1/usage`: what each key has used, and what it may."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from whisper_router.api.auth import require_admin
from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import KEY
from whisper_router.api.keys import NO_LIMITS, Key, Scope
from whisper_router.api.limits.account import Figures
from whisper_router.api.wire import json_response

Json = dict[str, Any]


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [web.get("/v1/usage", show_usage), web.get("/v1/usage/keys", list_usage)]


async def show_usage(request: web.Request) -> web.Response:
    """GET /v1/usage: of the caller's own key."""
    return json_response(_usage(request, request.get(KEY)))


async def list_usage(request: web.Request) -> web.Response:
    """GET /v1/usage/keys: of every key, also of those that never called."""
    await require_admin(request)
    ring = await request.app[DEPS].keys.ring()
    keys: Sequence[Key | None] = ring.keys if ring.required else (None,)
    return json_response({"object": "list", "data": [_usage(request, key) for key in keys]})


def _usage(request: web.Request, key: Key | None) -> Json:
    """Return the figures of a key; None: of everybody where no key is needed."""
    account = request.app[DEPS].usage.account("" if key is None else key.name)
    limits = NO_LIMITS if key is None else key.limits
    expires = None if key is None else key.expires
    return {
        "object": "usage",
        "key": None if key is None else key.name,
        "scopes": list(Scope) if key is None else list(key.allowed),
        "models": None if key is None or key.models is None else list(key.models),
        "expires_at": None if expires is None else int(expires.timestamp()),
        "limits": {
            "requests_per_minute": limits.requests_per_minute,
            "concurrent_requests": limits.concurrent_requests,
            "audio_minutes_per_day": limits.audio_minutes_per_day,
        },
        "now": {
            "requests_in_minute": account.window.count(account.clocks.monotonic()),
            "concurrent_requests": account.running,
        },
        "today": {"date": account.clocks.today(), **_figures(account.today())},
        "total": {**_figures(account.total), "since": int(account.since_s)},
    }


def _figures(figures: Figures) -> Json:
    return {
        "requests": figures.requests,
        "errors": figures.errors,
        "audio_seconds": round(figures.audio_s, 3),
    }
