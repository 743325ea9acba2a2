"""What programs print: cut into lines, bounded, and never waited for too long."""

import asyncio
import contextlib
import os
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from whisper_router.supervisor.output import Drain, OutputRing, follow


def ring(*, lines: int = 100, line_bytes: int = 100) -> OutputRing:
    return OutputRing(lines=lines, line_bytes=line_bytes)


@given(st.binary(max_size=300), st.lists(st.integers(min_value=0, max_value=300), max_size=8))
def test_lines_do_not_depend_on_how_the_bytes_arrive(data, cuts):
    """A line that arrives in pieces is the same line."""
    whole, pieces = ring(), ring()
    for target, parts in ((whole, [data]), (pieces, split(data, sorted(cuts)))):
        splitter = target.splitter()
        for part in parts:
            splitter.feed(part)
        splitter.flush()
    assert pieces.tail(1000) == whole.tail(1000)
    assert pieces.error == whole.error


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *cuts, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.binary(max_size=2000))
def test_memory_is_bounded_whatever_is_printed(data):
    """No line is longer than the limit and its mark, and no more lines are kept than asked."""
    target = ring(lines=3, line_bytes=10)
    splitter = target.splitter()
    splitter.feed(data)
    splitter.flush()
    assert len(target.tail(100)) <= 3
    assert all(len(line) <= 12 for line in target.tail(100))


def test_two_streams_are_not_mixed_within_a_line():
    """A progress bar on stdout does not hide the error on stderr."""
    target = ring()
    out, err = target.splitter(), target.splitter()
    out.feed(b"progress 5 %")
    err.feed(b"error: out of memory\n")
    out.feed(b"\rprogress 6 %\r")
    assert target.tail(3) == ["error: out of memory", "progress 5 %", "progress 6 %"]
    assert target.error == "out of memory"


def test_the_last_error_line_is_kept_when_it_has_left_the_ring():
    """Noise after the error does not push the reason out."""
    target = ring(lines=2)
    splitter = target.splitter()
    splitter.feed(b"error: first\nerror: second\n" + b"noise\n" * 5)
    assert target.error == "second"
    assert target.tail(5) == ["noise", "noise"]


def test_invalid_utf8_and_long_lines_are_shown_as_far_as_possible():
    """Bytes that mean nothing are replaced; what is cut is marked."""
    target = ring(line_bytes=4)
    splitter = target.splitter()
    splitter.feed(b"a\xffb\nabcdefgh\n\n")
    assert target.tail(5) == ["a\N{REPLACEMENT CHARACTER}b", "abcd …"]
    assert target.tail(0) == []


async def test_a_pipe_is_read_to_its_end():
    """All that was printed before the end is there."""
    reader, writer = os.pipe()
    target = ring()
    drain = Drain(reader, target.splitter())
    os.write(writer, b"one\ntwo")
    os.close(writer)
    async with asyncio.timeout(15):
        await drain.finish(timeout_s=5)
    assert target.tail(5) == ["one", "two"]
    assert target.received_bytes == 7


async def test_a_pipe_that_somebody_holds_open_is_waited_for_a_bounded_time():
    """A grandchild that keeps the pipe cannot keep us."""
    reader, writer = os.pipe()
    target = ring()
    drain = Drain(reader, target.splitter())
    os.write(writer, b"said")
    async with asyncio.timeout(15):
        while not target.received_bytes:  # noqa: ASYNC110 - a ring sets no event
            await asyncio.sleep(0)
        await drain.finish(timeout_s=0.05)
    os.close(writer)
    assert target.tail(5) == ["said"]


async def test_what_a_ring_has_got_last_is_followed_although_it_was_replaced():
    """A crash prints its message and is gone."""
    old, new = OutputRing(lines=5, line_bytes=100), OutputRing(lines=5, line_bytes=100)
    rings = [old]
    async with asyncio.timeout(15), contextlib.aclosing(follow(lambda: rings, 1)) as batches:
        old.append("first")
        assert await anext(batches) == ["first"]
        old.append("last words")
        rings[:] = [new]
        new.append("again")
        assert await anext(batches) == ["last words", "again"]
        assert await anext(batches) == []
