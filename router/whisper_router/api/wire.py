"""Bytes of answers: compact UTF-8 JSON with exact content types."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
MANY = 100
"""How many items of a list are written in one go."""


def encode_text(text: str) -> bytes:
    """Return UTF-8; a lone surrogate, which no UTF-8 can hold, becomes `?`."""
    return text.encode("utf-8", errors="replace")


def encode_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Return compact JSON. Raises ValueError for NaN and infinities, which JSON does not have.

    A long list is written in pieces: all other threads would have to wait for all of it.
    """
    if not isinstance(value, Mapping) or not any(map(_is_long, value.values())):
        return encode_text(_json(value))
    pairs = (f"{_json(name)}:{_in_pieces(item)}" for name, item in value.items())
    return encode_text("{" + ",".join(pairs) + "}")


def _in_pieces(value: Any) -> str:
    if not _is_long(value):
        return _json(value)
    pieces = (value[at : at + MANY] for at in range(0, len(value), MANY))
    return "[" + ",".join(_json(piece)[1:-1] for piece in pieces) + "]"


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > MANY


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
