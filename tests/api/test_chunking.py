"""The field `chunking_strategy` in every encoding that clients use."""

import json

import pytest

from whisper_router.api.chunking import Chunking, parse_chunking
from whisper_router.api.fields import Fields
from whisper_router.domain import SpeechDetection
from whisper_router.errors import InvalidParameter

FULL = {
    "type": "server_vad",
    "prefix_padding_ms": 100,
    "silence_duration_ms": 250,
    "threshold": 0.25,
}
MEANT = Chunking(vad=True, speech=SpeechDetection(threshold=0.25, pad_s=0.1, min_silence_s=0.25))


@pytest.mark.parametrize(
    "fields",
    [
        [("chunking_strategy", json.dumps(FULL))],
        [(f"chunking_strategy[{key}]", str(value)) for key, value in FULL.items()],
    ],
)
def test_the_numbers_of_a_server_vad_object_are_applied(fields):
    """As brackets and as JSON."""
    assert parse_chunking(Fields(fields)) == MEANT


def test_what_an_object_leaves_out_is_as_configured():
    """Only its type is required."""
    found = parse_chunking(Fields([("chunking_strategy[type]", "server_vad")]))
    assert found == Chunking(vad=True)


@pytest.mark.parametrize(("text", "vad"), [("auto", None), ("none", False), ("", None)])
def test_words_say_whether_to_look_for_speech(text, vad):
    """`auto` is as configured."""
    assert parse_chunking(Fields([("chunking_strategy", text)])) == Chunking(vad=vad)


@pytest.mark.parametrize(
    "text",
    [
        "sometimes",
        '{"type": "server_vad", "threshold": 2}',
        '{"type": "server_vad", "silence_duration_ms": -1}',
        '{"type": "server_vad", "further": 1}',
        '{"type": "semantic_vad"}',
        "{not json",
        "[1]",
    ],
)
def test_anything_else_is_refused_by_the_name_of_the_field(text):
    """Also within the object."""
    with pytest.raises(InvalidParameter) as caught:
        parse_chunking(Fields([("chunking_strategy", text)]))
    assert caught.value.param == "chunking_strategy"
