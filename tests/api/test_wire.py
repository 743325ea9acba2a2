"""Bytes of answers."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.wire import encode_json, encode_text, json_response


def test_json_is_compact_and_in_utf8():
    """No escapes for what UTF-8 can say."""
    assert encode_json({"text": "Grüße", "n": [1, 2]}) == '{"text":"Grüße","n":[1,2]}'.encode()


def test_numbers_that_json_lacks_are_a_bug():
    """Better no answer than one that nobody can parse."""
    with pytest.raises(ValueError, match="JSON"):
        encode_json({"a": math.nan})


@given(st.text(st.characters()))
def test_any_text_can_be_sent(text: str):
    """Lone surrogates included."""
    assert isinstance(json.loads(encode_json({"t": text}))["t"], str)
    encode_text(text).decode("utf-8")


def test_json_has_no_charset():
    """RFC 8259: it is UTF-8."""
    assert json_response({}).headers["Content-Type"] == "application/json"
