"""Server-sent events, however the network splits them."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.commands.event_stream import EventStream

payloads = st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3)


def read(*pieces: bytes) -> list:
    stream = EventStream()
    return [event for piece in pieces for event in stream.feed(piece)]


@given(
    st.lists(payloads, max_size=5),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 500)),
    st.booleans(),
)
def test_any_split_gives_the_same_events(events, end, cuts, has_comments):
    """Between any two bytes, with any of the standard's line ends."""
    comment = f": keep-alive{end}{end}" if has_comments else ""
    lines = [
        f"data: {json.dumps(event, ensure_ascii=False)}{end}{end}{comment}" for event in events
    ]
    data = "".join(lines).encode() + b"\n"  # a last CR waits for what follows it
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[low:high] for low, high in pairwise(places)]
    assert read(*pieces) == events


def test_data_of_several_lines_is_one_event():
    """As the standard joins them."""
    assert read(b'event: x\ndata: {"a":\ndata:1}\nid: 7\n\n') == [{"a": 1}]


@pytest.mark.parametrize("data", [b"data: [DONE]\n\n", b"data: 1\n\n", b"data: {\n\n", b"\n\n\n"])
def test_what_is_no_object_is_skipped(data):
    """And what follows it is not."""
    assert read(data, b"data: {}\n\n") == [{}]


def test_an_event_that_does_not_end_is_none():
    """The connection was lost in the middle of it."""
    assert read(b'data: {"a": 1}\n') == []
