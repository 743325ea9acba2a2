"""What plugin and worker say to each other."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.domain import (
    Chunk,
    DecodingOptions,
    Lane,
    Segment,
    TokenLogprob,
    TranscriptionRequest,
    Word,
)
from whisper_router_engines.whispercpp.protocol import (
    MAX_PROMPT_BYTES,
    OrderError,
    full_prompt,
    order_json,
    parse_order,
    parse_segment,
    segment_json,
)

CHUNK = Chunk(path=Path("/spool/a.f32"), start=3, end=9)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
WORD = st.builds(
    Word,
    text=st.text(max_size=9),
    start_s=NUMBER,
    end_s=NUMBER,
    probability=NUMBER,
)
LOGPROB = st.builds(TokenLogprob, token=st.text(max_size=9), logprob=NUMBER, data=st.binary())
SEGMENT = st.builds(
    Segment,
    start_s=NUMBER,
    end_s=NUMBER,
    text=st.text(max_size=20),
    tokens=st.lists(st.integers(0, 51_865), max_size=5).map(tuple),
    words=st.lists(WORD, max_size=3).map(tuple),
    logprobs=st.lists(LOGPROB, max_size=3).map(tuple),
    seek_s=NUMBER,
    temperature=NUMBER,
    avg_logprob=NUMBER,
    compression_ratio=NUMBER,
    no_speech_prob=NUMBER,
)


@given(SEGMENT)
def test_a_segment_survives_the_way(segment):
    """Nothing is lost or changed between worker and router."""
    assert parse_segment(json.loads(json.dumps(segment_json(segment)))) == segment


def test_an_order_holds_only_what_was_asked():
    """The alias's options fill in the rest, in the worker."""
    request = TranscriptionRequest(
        model="x", language="de", decoding=DecodingOptions(temperature=0.0, beam_size=5)
    )
    order = parse_order(json.loads(json.dumps(order_json(CHUNK, request))))
    assert order.decoding == {"temperature": 0.0, "beam_size": 5}
    assert (order.path, order.start, order.end) == ("/spool/a.f32", 3, 9)
    assert (order.task, order.language, order.live) == ("transcribe", "de", False)


def test_a_window_of_a_live_session_is_known_as_one():
    """The worker may encode less of it."""
    request = TranscriptionRequest(model="x", lane=Lane.LIVE)
    assert parse_order(order_json(CHUNK, request)).live


@pytest.mark.parametrize(
    "body", [None, [], {}, {"path": "x"}, {"surprise": 1}], ids=["null", "list", "0", "few", "more"]
)
def test_a_malformed_order_is_refused(body):
    """With a message, not a traceback."""
    with pytest.raises(OrderError):
        parse_order(body)


def test_unknown_decoding_options_are_refused():
    """A newer router must not be half obeyed."""
    body = order_json(CHUNK, TranscriptionRequest(model="x")) | {"decoding": {"magic": 1}}
    with pytest.raises(OrderError, match="magic"):
        parse_order(body)


def test_hotwords_come_before_the_prompt():
    """whisper keeps the end of a prompt that is too long, and that is the user's own."""
    assert full_prompt(["Zulu", " ", "Kilo"], "Before.") == "Zulu, Kilo. Before."
    assert full_prompt([], "Before.") == "Before."
    assert full_prompt(["Zulu"], "") == "Zulu."


@pytest.mark.parametrize("letter", ["x", "é", "日", "\N{PARTY POPPER}"])
def test_of_a_very_long_prompt_the_end_is_kept(letter: str):
    """whisper.cpp overflows its stack on a word of some 30,000 bytes."""
    kept = full_prompt(["Zulu"], letter * 100_000 + " end")
    assert kept.endswith(f"{letter} end")
    assert MAX_PROMPT_BYTES - 4 < len(kept.encode()) <= MAX_PROMPT_BYTES


def test_a_prompt_that_is_no_unicode_can_still_be_sent():
    """pybind11 refuses half a surrogate pair, and the worker would end."""
    assert full_prompt([], "a\ud800b") == "a?b"
