"""Codes and reasons of closed WebSockets."""

import pytest
from aiohttp import WSCloseCode

from whisper_router.api.closing import MAX_REASON_BYTES, close_code, close_reason
from whisper_router.errors import EngineCrashed, QueueFull, QueueTimeout, ShuttingDown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (QueueFull("x"), WSCloseCode.TRY_AGAIN_LATER),
        (QueueTimeout("x"), WSCloseCode.TRY_AGAIN_LATER),
        (ShuttingDown("x"), WSCloseCode.TRY_AGAIN_LATER),
        (EngineCrashed("x"), WSCloseCode.INTERNAL_ERROR),
    ],
)
def test_a_client_is_told_whether_to_come_back(error, code):
    assert close_code(error) is code


@pytest.mark.parametrize("letter", ["a", "é", "€", "𝄞"])
def test_a_reason_is_cut_between_characters(letter):
    """A control frame has no room for more."""
    reason = close_reason(letter * 200)
    assert MAX_REASON_BYTES - 4 < len(reason) <= MAX_REASON_BYTES
    assert set(reason.decode()) == {letter}
