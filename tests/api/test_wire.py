"""Bytes of answers."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.api.wire import MANY, encode_json, encode_text, json_response


def test_json_is_compact_and_in_utf8():
    """No escapes for what UTF-8 can say."""
    assert encode_json({"text": "Grüße", "n": [1, 2]}) == '{"text":"Grüße","n":[1,2]}'.encode()


@pytest.mark.parametrize("count", [0, 1, MANY, MANY + 1, 3 * MANY, 1000])
def test_long_lists_are_no_other_json(count):
    """Though they are written in pieces."""
    body = {"a": "é", "many": [{"n": n, "s": [n]} for n in range(count)], "b": [1, None]}
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    assert encode_json(body) == text.encode()


def test_numbers_that_json_lacks_are_a_bug():
    """Better no answer than one that nobody can parse."""
    with pytest.raises(ValueError, match="JSON"):
        encode_json({"a": math.nan})
    with pytest.raises(ValueError, match="JSON"):
        encode_json({"a": [math.nan] * 1000})


@given(st.text(st.characters()))
def test_any_text_can_be_sent(text: str):
    """Lone surrogates included."""
    assert isinstance(json.loads(encode_json({"t": text}))["t"], str)
    encode_text(text).decode("utf-8")


def test_json_has_no_charset():
    """RFC 8259: it is UTF-8."""
    assert json_response({}).headers["Content-Type"] == "application/json"
