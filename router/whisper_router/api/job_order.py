"""What makes a job besides the transcription itself: JSON bodies, webhooks, formats. Pure."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from whisper_router.api.fields import Fields, parse_json
from whisper_router.errors import InvalidParameter, InvalidRequest, MissingParameter
from whisper_router.jobs.model import Webhook

SIGNING_PREFIX = "whsec_"
LEAST_SECRET_BYTES, MOST_SECRET_BYTES = 24, 64  # Standard Webhooks: 192 to 512 bits
MAX_HEADERS = 32
RESPONSE_FIELDS = frozenset(
    {
        "response_format",
        "timestamp_granularities",
        "include",
        "max_line_width",
        "max_line_count",
        "max_words_per_line",
        "highlight_words",
    }
)
ADDRESSES = frozenset({"url", "audio_url", "webhook", "webhook_url"})
"""Fields of which there is one."""


def fields_of(body: bytes, *, single: frozenset[str] = frozenset()) -> Sequence[tuple[str, str]]:
    """Return a JSON object as form fields: lists as `name[]`, objects as JSON.

    The value of a field in `single` is neither.

    Raises:
        InvalidRequest: it is no JSON object, or its text is not Unicode.
        InvalidParameter: there are several values, or an object, where there can be one value.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(values, dict):
        raise InvalidRequest("The body must be a JSON object.")
    for name in single & values.keys():
        if isinstance(values[name], list | dict):
            raise InvalidParameter(f"'{name}' must be a single value.", param=name)
    fields = [pair for name, value in values.items() for pair in _pairs(name, value)]
    for name, value in fields:
        if not is_unicode(name):
            raise InvalidRequest("The name of a field is not valid Unicode.")
        if not is_unicode(value):
            raise InvalidParameter(f"'{name}' is not valid Unicode.", param=name)
    return fields


def is_unicode(text: str) -> bool:
    """Return whether no UTF-16 surrogate is in a text; JSON's \\u escapes can smuggle in one."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def check_source(*, has_file: bool, is_form: bool, url: str | None) -> None:
    """Raise InvalidRequest unless there is either a file or an address."""
    if has_file and url is not None:
        raise InvalidParameter("'file' and 'url' cannot be given together.", param="url")
    if not has_file and url is None:
        raise MissingParameter("file" if is_form else "url")


def response_fields(fields: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return those fields that say how the result is to be written."""
    return [pair for pair in fields if pair[0].partition("[")[0] in RESPONSE_FIELDS]


def webhook_of(fields: Sequence[tuple[str, str]]) -> Webhook | None:
    """Return whom to tell: `webhook` is an address, or JSON with `url`, `headers` and `secret`.

    Raises:
        InvalidParameter: it is neither, or something in it is wrong.
    """
    text = Fields(fields).text("webhook", "webhook_url")
    if text is None:
        return None
    body = parse_json("webhook", text) if text.lstrip().startswith("{") else {"url": text.strip()}
    if not isinstance(body, Mapping) or set(body) - {"url", "headers", "header", "secret"}:
        raise _wrong("'webhook' is an address, or an object with url, headers and secret.")
    url, secret = body.get("url"), body.get("secret")
    if not _is_address(url):
        raise _wrong("'webhook.url' must be an http or https address.")
    return Webhook(
        url=str(url),
        headers=_headers(body.get("headers") or body.get("header") or {}),
        secret=None if secret is None else _secret(secret),
    )


def _is_address(url: object) -> bool:
    if not isinstance(url, str) or not is_unicode(url):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:  # http://[
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if isinstance(value, list) and name in ADDRESSES:
        raise InvalidParameter(f"'{name}' cannot be a list.", param=name)
    if isinstance(value, list):
        yield from ((f"{name}[]", _text(item)) for item in value)
    else:
        yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)


def _headers(value: Any) -> Mapping[str, str]:
    is_plain = isinstance(value, Mapping) and all(
        isinstance(item, str) and item.isprintable() for pair in value.items() for item in pair
    )
    if not is_plain or len(value) > MAX_HEADERS:
        raise _wrong(f"'webhook.headers' is an object of at most {MAX_HEADERS} strings.")
    return dict(value)


def _secret(value: Any) -> str:
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value.removeprefix(SIGNING_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if LEAST_SECRET_BYTES <= len(raw) <= MOST_SECRET_BYTES:
            return SIGNING_PREFIX + value.removeprefix(SIGNING_PREFIX)
    raise _wrong(
        "'webhook.secret' is 'whsec_' and the base64 of "
        f"{LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} random bytes."
    )


def _wrong(message: str) -> InvalidParameter:
    return InvalidParameter(message, param="webhook")
