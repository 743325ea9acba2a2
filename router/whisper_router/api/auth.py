"""Who is calling: the key in the request against the keys on the ring."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from structlog.contextvars import bind_contextvars

from whisper_router.api.context import PROBES
from whisper_router.api.deps import DEPS
from whisper_router.errors import AuthenticationRequired, IncorrectApiKey

SHORTEST_SHOWN = 16


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let known keys pass, and everybody where no key was ever configured.

    Open: health checks, preflights, and what does not exist, whose answer tells a user with a wrong
    base URL the right one.
    """
    ring = await request.app[DEPS].keys.ring()
    if ring.required and not _is_open(request):
        presented = presented_key(request)
        if presented is None:
            raise AuthenticationRequired(
                "You didn't provide an API key. Send it in the Authorization header "
                "(Authorization: Bearer YOUR_KEY) or as x-api-key."
            )
        key = ring.identify(presented)
        if key is None:
            raise IncorrectApiKey(f"Incorrect API key provided: {masked(presented)}.")
        bind_contextvars(key=key.name)
    return await handler(request)


def presented_key(request: web.BaseRequest) -> str | None:
    """Return the key of `Authorization: Bearer` (in any case) or `x-api-key`."""
    scheme, _, credentials = request.headers.get(hdrs.AUTHORIZATION, "").strip().partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    return bearer or request.headers.get("x-api-key", "").strip() or None


def masked(key: str) -> str:
    """Return enough of a key to tell which one it was; nothing of a short one."""
    if len(key) < SHORTEST_SHOWN:
        return "***"
    return f"{key[:3]}…{key[-4:]}"


def _is_open(request: web.Request) -> bool:
    return (
        request.path in PROBES
        or request.method == hdrs.METH_OPTIONS
        or request.match_info.http_exception is not None
    )
