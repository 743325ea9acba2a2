"""Lines for readers that are slow, stuck or gone."""

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from whisper_router.log_outlet import PATIENCE_S, PIECE_BYTES, Outlet

LINE = "x" * 99 + "\n"
FAR_TOO_MANY = 5000


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end that is read, and the one that is written."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(writing, "w") as stream, os.fdopen(reading, "rb"):
        yield reading, stream


def rest(reading: int) -> bytes:
    data = b""
    while True:
        try:
            piece = os.read(reading, 1 << 20)
        except BlockingIOError:
            return data
        data += piece


def test_who_does_not_read_holds_nobody_up(pipe):
    """It is waited for once. What it missed is counted; what comes later is read again."""
    reading, stream = pipe
    outlet = Outlet(stream)
    began_s = time.monotonic()
    written = sum(outlet.write(LINE) > 0 for _ in range(FAR_TOO_MANY))
    assert time.monotonic() - began_s < 50 * PATIENCE_S  # and not for each of those that are lost
    assert 100 < written < FAR_TOO_MANY
    assert outlet.take_lost() == FAR_TOO_MANY - written
    assert rest(reading) == LINE.encode() * written
    assert outlet.write("again\n")
    assert outlet.take_lost() == 0
    assert rest(reading) == b"again\n"


def test_a_line_that_was_torn_spoils_no_other(pipe):
    """A traceback is longer than what there is room for."""
    reading, stream = pipe
    outlet = Outlet(stream)
    assert not outlet.write("y" * 200 * PIECE_BYTES + "\n")
    torn = rest(reading)
    assert set(torn) == {ord("y")}
    assert outlet.write(LINE)
    assert rest(reading) == b"\n" + LINE.encode()


def test_a_reader_that_has_gone_is_missed_by_nobody():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream)
        assert not outlet.write(LINE)
    assert not outlet.write(LINE)  # closed by now
    assert outlet.take_lost() == 2


def test_a_full_disk_and_then_room(tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        outlet = Outlet(full)
        assert not outlet.write(LINE)
    with (tmp_path / "log").open("w") as file:
        assert Outlet(file).write("ü\udcff\n")
    assert (tmp_path / "log").read_bytes() == "ü\\udcff\n".encode()


def test_a_stream_of_pythons_own_is_written_as_it_is():
    stream = io.StringIO()
    assert Outlet(stream).write(LINE) == len(LINE)
    assert stream.getvalue() == LINE
