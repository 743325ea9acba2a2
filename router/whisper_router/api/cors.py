"""Cross-origin requests from browsers (Fetch standard, "CORS protocol"). Off without origins."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

METHODS = "GET, POST, DELETE, OPTIONS"
USUAL_HEADERS = "authorization, content-type, x-api-key, x-request-id, x-progress-id"
EXPOSED = (
    "x-request-id, openai-processing-ms, x-queue-position, x-queue-time, "
    "retry-after, retry-after-ms, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-concurrent-requests, x-ratelimit-remaining-concurrent-requests, "
    "x-ratelimit-limit-audio-seconds, x-ratelimit-remaining-audio-seconds, "
    "x-ratelimit-reset-audio-seconds"
)
MAX_AGE_S = 600
HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,4096}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsPolicy:
    """Which origins may use the API from a browser. `*` is every one; none means CORS is off."""

    origins: Sequence[str] = ()

    def allows(self, origin: str) -> bool:
        """Tell whether `origin` is one of those that were named; `*` names nobody."""
        return origin.rstrip("/").lower() in {item.rstrip("/").lower() for item in self.origins}

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """Return the headers for any answer to a request from `origin`."""
        if not self.origins or origin is None:
            return {}
        if "*" in self.origins:
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": EXPOSED}
        if not self.allows(origin):
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
            "Vary": "Origin",
        }


def answer_preflights(policy: CorsPolicy) -> Middleware:
    """Return a middleware that answers preflights on every path, before any key is asked for.

    The headers on other answers, errors too, are added where headers are sent (`context`).
    """

    @web.middleware
    async def preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not policy.origins or not _is_preflight(request):
            return await handler(request)
        return web.Response(status=204, headers=_allowed(request))

    return preflight


def _is_preflight(request: web.Request) -> bool:
    return (
        request.method == hdrs.METH_OPTIONS
        and hdrs.ORIGIN in request.headers
        and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    )


def _allowed(request: web.Request) -> Mapping[str, str]:
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    return {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": wanted if HEADER_NAMES.fullmatch(wanted) else USUAL_HEADERS,
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
