"""What clients send, well-formed and not."""

import base64
import json

import pytest

from whisper_router.api.realtime.client_events import (
    BIG_BYTES,
    MAX_APPEND_BYTES,
    audio_of,
    item_id_of,
    kind_of,
    session_of,
    too_little,
    unpacked,
)
from whisper_router.errors import InvalidParameter, InvalidRequest, MissingParameter


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b"[]", "invalid_event"),
        (b'"session.update"', "invalid_event"),
    ],
)
async def test_what_is_no_object_is_no_event(message, code):
    """Neither is what is nested beyond reason."""
    with pytest.raises(InvalidRequest) as caught:
        await unpacked(message)
    assert (caught.value.code, caught.value.param) == (code, None)


async def test_large_messages_are_unpacked_beside_the_loop():
    """Fifteen MiB of audio in one event; more is refused."""
    for size in (3, BIG_BYTES, MAX_APPEND_BYTES):
        data = bytes(size)
        event = {"audio": base64.b64encode(data).decode()}
        assert await audio_of(await unpacked(json.dumps(event).encode())) == data
    too_much = {"audio": base64.b64encode(bytes(MAX_APPEND_BYTES + 1)).decode()}
    with pytest.raises(InvalidParameter, match="at most"):
        await audio_of(too_much)


@pytest.mark.parametrize("audio", ["a", "****", "AAA=A", 7, ["AAAA"]])
async def test_what_is_no_base64_is_refused(audio):
    """By the name of the field."""
    with pytest.raises(InvalidParameter) as caught:
        await audio_of({"audio": audio})
    assert (caught.value.param, caught.value.code) == ("audio", "invalid_value")


async def test_fields_that_are_missing_are_named():
    """Each event has its own."""
    for take, param in ((session_of, "session"), (item_id_of, "item_id")):
        with pytest.raises(MissingParameter) as caught:
            take({})
        assert caught.value.param == param
    with pytest.raises(MissingParameter):
        await audio_of({})
    with pytest.raises(InvalidRequest) as caught:
        kind_of({"type": 7})
    assert caught.value.code == "invalid_event"
    assert kind_of({"type": "x"}) == "x"


def test_a_commit_says_how_little_there_is():
    """In milliseconds, as OpenAI's message does."""
    error = too_little(0.0421)
    assert error.code == "input_audio_buffer_commit_empty"
    assert "only has 42.10ms" in str(error)
