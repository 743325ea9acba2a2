"""What a realtime client sends, unpacked. What is large is unpacked in a thread."""

import asyncio
import base64
import binascii
import json
from typing import Any

from whisper_router.api.services import ModelDirectory
from whisper_router.errors import (
    INVALID_REQUEST,
    InvalidParameter,
    InvalidRequest,
    MissingParameter,
    ModelNotFound,
    RouterError,
)

Json = dict[str, Any]

MAX_APPEND_BYTES = 15 << 20
BIG_BYTES = 256 << 10
"""What is larger takes more than a few milliseconds."""


class ModelRefused(RouterError):
    """No session can begin with this model, or not for this key."""

    status, kind, code, param = 400, INVALID_REQUEST, "invalid_model", "model"


def check_model(models: ModelDirectory, name: str) -> None:
    """Raise ModelRefused if a session may not begin with this model."""
    try:
        models.check(name)
    except ModelNotFound as error:
        raise ModelRefused(str(error)) from error


async def unpacked(message: bytes) -> Json:
    """Return the object that a text message holds. Raises InvalidRequest if there is none."""
    try:
        if len(message) > BIG_BYTES:
            body = await asyncio.to_thread(json.loads, message)
        else:
            body = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise _refusal(f"The message is not JSON: {error}.", "invalid_json") from error
    if not isinstance(body, dict):
        raise _refusal("An event is a JSON object.", "invalid_event")
    return body


def kind_of(body: Json) -> str:
    """Return the type of an event. Raises InvalidRequest if it has none."""
    kind = body.get("type")
    if not isinstance(kind, str):
        raise _refusal("An event has a 'type', which is a string.", "invalid_event")
    return kind


async def audio_of(body: Json) -> bytes:
    """Return the audio of `input_audio_buffer.append`.

    Raises:
        MissingParameter, InvalidParameter: there is none, or too much, or it is not base64.
    """
    audio = body.get("audio")
    if audio is None:
        raise MissingParameter("audio")
    if not isinstance(audio, str):
        raise InvalidParameter("'audio' must be a string of base64.", param="audio")
    try:
        if len(audio) > BIG_BYTES:
            data = await asyncio.to_thread(base64.b64decode, audio, validate=True)
        else:
            data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidParameter(f"'audio' is not base64: {error}.", param="audio") from error
    if len(data) > MAX_APPEND_BYTES:
        raise InvalidParameter(
            f"'audio' holds {len(data)} bytes; at most {MAX_APPEND_BYTES} are taken at a time.",
            param="audio",
        )
    return data


def session_of(body: Json) -> object:
    """Return the session of an update. Raises MissingParameter."""
    if "session" not in body:
        raise MissingParameter("session")
    return body["session"]


def item_id_of(body: Json) -> object:
    """Return which item is meant. Raises MissingParameter."""
    if body.get("item_id") is None:
        raise MissingParameter("item_id")
    return body["item_id"]


def too_little(buffered_s: float) -> InvalidRequest:
    """Return the error of a commit with less than 100 ms of audio."""
    return _refusal(
        "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
        f"but buffer only has {buffered_s * 1000:.2f}ms of audio.",
        "input_audio_buffer_commit_empty",
    )


def _refusal(message: str, code: str) -> InvalidRequest:
    error = InvalidRequest(message)
    error.code = code
    return error
