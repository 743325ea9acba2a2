"""Who is calling: the key in the request against the keys on the ring."""

import time
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from structlog.contextvars import bind_contextvars

from whisper_router.api import proxies, ui
from whisper_router.api.access import check_scope, require_scope, rule_of
from whisper_router.api.context import NOISE, PROBES
from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import KEY
from whisper_router.api.hosts import refuse_strange_hosts
from whisper_router.api.keys import Key, KeyRing, Scope
from whisper_router.api.wrong_keys import WRONG_KEYS
from whisper_router.domain import Client
from whisper_router.errors import AuthenticationRequired, IncorrectApiKey, PermissionDenied

SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
SHORTEST_SHOWN = 16
SUBPROTOCOL_KEY = "openai-insecure-api-key."
REALTIME_PATHS = frozenset({"/v1/realtime", "/realtime"})
"""Where client secrets are good, and nowhere else."""
OPEN_PATHS = PROBES | {"/openapi.json", "/docs"}
METRICS_PATH = "/metrics"

__all__ = [
    "KEY",
    "authenticate",
    "client_of",
    "masked",
    "presented_key",
    "refuse_foreign_pages",
    "require_admin",
]


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let keys pass that have the route's scope, and everybody where no key was ever configured.

    Open: health checks, the description of this API, the page, preflights, and what does not
    exist, whose answer tells a user with a wrong base URL the right one.

    Raises:
        AuthenticationRequired, IncorrectApiKey, InsufficientScope: there is no key, or no good one.
        HostNotAllowed: nobody needs one, and it may be another site's page (`hosts`).
    """
    deps = request.app[DEPS]
    ring = await deps.keys.ring()
    if not ring.required:
        refuse_strange_hosts(request, deps.hosts)
    elif not _is_open(request):
        presented = presented_key(request)
        if presented is None:
            raise AuthenticationRequired(
                "You didn't provide an API key. Send it in the Authorization header "
                "(Authorization: Bearer YOUR_KEY) or as x-api-key."
            )
        key = ring.identify(presented) or _owner_of(request, presented, ring)
        if key is None:
            if request.app[WRONG_KEYS].note(proxies.client_address(request)):
                request[NOISE] = True
            raise IncorrectApiKey(f"Incorrect API key provided: {masked(presented)}.")
        bind_contextvars(key=key.name)
        request[KEY] = key
        if key.has_expired(time.time()):
            raise IncorrectApiKey(f"The API key '{key.name}' has expired.")
        if (scope := rule_of(request).scope) is not None:
            check_scope(key, scope)
    return await handler(request)


def client_of(request: web.Request) -> Client:
    """Return on whose behalf the request runs; everybody is one client where no key is needed."""
    key = request.get(KEY)
    return Client() if key is None else Client(name=key.name, weight=key.weight)


async def require_admin(request: web.Request) -> None:
    """Let administrators' keys pass, of which API_KEY is one, and everybody without keys.

    Raises:
        InsufficientScope: the key is an ordinary one.
        PermissionDenied: a page of another site wants to change something, which a browser lets it
            try where no key is needed.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    if request.method not in SAFE_METHODS and origin is not None:
        is_ours = urlsplit(origin).netloc == proxies.host(request)
        if not is_ours and not request.app[DEPS].cors.allows(origin):
            raise PermissionDenied("Pages of other sites may not do this (server.cors_origins).")
    require_scope(request, Scope.ADMIN)


def is_admin(request: web.Request) -> bool:
    """Return whether what is everybody's is shown to the caller."""
    key = request.get(KEY)
    return key is None or Scope.ADMIN in key.allowed


def refuse_foreign_pages(request: web.Request) -> None:
    """Let no page of another site do what needs no key, but harms more than the page's user.

    That is to open a WebSocket, and to have this server call an address: audio or a webhook. A
    browser asks before many requests to another site, but not before WebSockets and plain forms.

    Raises:
        PermissionDenied: such a page, which `server.cors_origins` does not name.
    """
    origin, cors = request.headers.get(hdrs.ORIGIN), request.app[DEPS].cors
    if origin is None or KEY in request or "*" in cors.origins or cors.allows(origin):
        return
    if urlsplit(origin).netloc != proxies.host(request):
        raise PermissionDenied("Pages of other sites may not do this (server.cors_origins).")


def presented_key(request: web.BaseRequest) -> str | None:
    """Return the key of `Authorization: Bearer` (in any case), `x-api-key` or `x-admin-api-key`.

    The last is insanely-fast-whisper-api's.

    For a WebSocket also of `api-key` and, as a browser can add no headers, of the subprotocol
    `openai-insecure-api-key.KEY` and the `api_key` of the query.
    """
    scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    names = ("x-api-key", "x-admin-api-key")
    key = bearer or next((key for name in names if (key := _header(request, name))), "")
    if not key and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket":
        key = _header(request, "api-key") or _subprotocol_key(request)
        key = key or request.query.get("api_key", "").strip()
    return key or None


def _header(request: web.BaseRequest, name: str) -> str:
    return request.headers.get(name, "").strip()


def _subprotocol_key(request: web.BaseRequest) -> str:
    for offered in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(","):
        _, prefix, key = offered.strip().partition(SUBPROTOCOL_KEY)
        if prefix:
            return key
    return ""


def _owner_of(request: web.Request, presented: str, ring: KeyRing) -> Key | None:
    """Return the key that a client secret was made with, which must still be good."""
    if request.path.rstrip("/") not in REALTIME_PATHS:
        return None
    secret = request.app[DEPS].client_secrets.find(presented)
    if secret is None or secret.owner is None:
        return None
    return ring.with_hash(secret.owner.hash)  # with the limits that it has now


def masked(key: str) -> str:
    """Return enough of a key to tell which one it was; nothing of a short one."""
    if len(key) < SHORTEST_SHOWN:
        return "***"
    return f"{key[:3]}…{key[-4:]}"


def _is_open(request: web.Request) -> bool:
    return (
        (request.path == METRICS_PATH and request.app[DEPS].open_metrics)
        or request.path in OPEN_PATHS
        or ui.is_open(request)
        or request.method == hdrs.METH_OPTIONS
        or request.match_info.http_exception is not None
    )
