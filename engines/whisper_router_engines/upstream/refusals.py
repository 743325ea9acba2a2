"""What other servers answer instead of a transcript, as errors of ours. Pure."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from whisper_router.errors import INVALID_REQUEST, SERVER_ERROR, UpstreamRefused

MAX_SHOWN: Final = 500
LONGEST_HOLD_OFF_S: Final = 60.0
LONGEST_RETRY_S: Final = 3600.0
CLIENTS_FAULT: Final = frozenset({400, 408, 413, 415, 422})
OVERLOADED: Final = frozenset({429, 503})
BROKEN: Final = frozenset({500, 502})
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
LOOP: Final = 508
REFUSED: Final = "upstream_refused"
"""The code of what is wrong with our configuration."""


def refusal(
    url: str, status: int, headers: Mapping[str, str], body: bytes, *, model: str
) -> UpstreamRefused:
    """Return the error for an answer with a status other than 200.

    What is the client's fault is passed on as it is. What is ours (the key, the model's name, the
    address) is not told to clients as if it were theirs; what the server says of our key may hold
    it.
    """
    said = _said(body)
    text = str(said.get("message") or f"HTTP status {status}")[:MAX_SHOWN]
    if status in {401, 403}:
        return _misconfigured(f"{url} refuses our key (option `api_key`; HTTP status {status}).")
    if status == 404:
        return _misconfigured(f"{url} has no model '{model}' (option `remote_model`): {text}")
    if status in REDIRECTS:
        return _misconfigured(f"{url} sends elsewhere: name the final address in `base_urls`.")
    is_passed_on = status in CLIENTS_FAULT | OVERLOADED | {LOOP, 504}
    kind = INVALID_REQUEST if status in CLIENTS_FAULT else SERVER_ERROR
    error = UpstreamRefused(
        text if is_passed_on else f"{url} failed: {text}",
        status=status if is_passed_on else 502,
        kind=_text(said.get("type")) or kind,
        code=_text(said.get("code")) or (None if status in CLIENTS_FAULT else "upstream_failed"),
        param=_text(said.get("param")),
        retry_after_s=_seconds(headers.get("Retry-After")),
        is_elsewhere_better=status in OVERLOADED | BROKEN,
    )
    if status in OVERLOADED:
        error.hold_off_s = min(max(1.0, error.retry_after_s or 0.0), LONGEST_HOLD_OFF_S)
    return error


def _misconfigured(message: str) -> UpstreamRefused:
    return UpstreamRefused(
        message, status=502, kind=SERVER_ERROR, code=REFUSED, is_elsewhere_better=True
    )


def _said(body: bytes) -> Mapping[str, Any]:
    """Return `message` and what else an error body holds; servers differ in its form."""
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return {"message": body.decode(errors="replace").strip()}
    if not isinstance(decoded, dict):
        return {"message": str(decoded)}
    error = decoded.get("error", decoded.get("detail", decoded))
    if isinstance(error, dict):
        return error
    return {"message": error if isinstance(error, str) else json.dumps(error)}


def _text(value: object) -> str | None:
    return value[:MAX_SHOWN] if isinstance(value, str) and value else None


def _seconds(value: str | None) -> int | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    is_known = 0 <= seconds < math.inf
    return math.ceil(min(seconds, LONGEST_RETRY_S)) if is_known else None
