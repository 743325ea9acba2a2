"""How WebSockets end: with a code and a reason, or at once."""

from aiohttp import WSCloseCode, web

from whisper_router.errors import (
    IncorrectApiKey,
    LimitReached,
    ModelNotAllowed,
    PermissionDenied,
    QueueFull,
    QueueTimeout,
    RouterError,
    Unavailable,
)

MAX_REASON_BYTES = 123  # RFC 6455 5.5: a control frame holds 125 bytes, two of them the code
CLOSE_S = 5.0
"""How long a client may take to answer a close frame."""


def close_code(error: RouterError) -> WSCloseCode:
    """Return whether to come back later (1013), that the key may not (1008), or failure (1011)."""
    if isinstance(error, IncorrectApiKey | PermissionDenied | ModelNotAllowed):
        return WSCloseCode.POLICY_VIOLATION
    if isinstance(error, Unavailable | QueueFull | QueueTimeout | LimitReached):
        return WSCloseCode.TRY_AGAIN_LATER
    return WSCloseCode.INTERNAL_ERROR


def close_reason(text: str) -> bytes:
    """Return as many whole characters as a close frame holds."""
    return text.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()


def hang_up(request: web.Request) -> None:
    """End the connection at once: a close frame would wait behind what is not read."""
    if request.transport is not None:
        request.transport.abort()
