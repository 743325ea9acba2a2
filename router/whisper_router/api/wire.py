"""Bytes of answers: compact UTF-8 JSON with exact content types."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web


def encode_text(text: str) -> bytes:
    """Return UTF-8; a lone surrogate, which no UTF-8 can hold, becomes `?`."""
    return text.encode("utf-8", errors="replace")


def encode_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Return compact JSON. Raises ValueError for NaN and infinities, which JSON does not have."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return encode_text(text)


def json_response(
    value: Mapping[str, Any] | Sequence[Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Answer JSON as exactly `application/json`: JSON has no charset parameter (RFC 8259)."""
    return web.Response(
        body=encode_json(value), status=status, headers=headers, content_type="application/json"
    )
