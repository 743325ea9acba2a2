"""What the keeper writes down about its workers' ends."""

import time
from pathlib import Path

import pytest

from whisper_router_engines.whispercpp.ends import KEPT, Ends, describe_end, ends_path, find_end


def test_an_end_is_found_by_its_process_id(tmp_path):
    """Negative for a signal, as `subprocess` has it."""
    socket = tmp_path / "engine.sock"
    ends = Ends(socket)
    began_s = time.monotonic()
    ends.add(11, -9)
    ends.add(12, 70)
    assert find_end(11, socket, since_s=began_s) == -9
    assert find_end(12, socket, since_s=began_s) == 70
    assert find_end(13, socket, since_s=began_s) is None


def test_an_earlier_holder_of_the_same_id_does_not_count(tmp_path):
    """The system gives numbers out again."""
    socket = tmp_path / "engine.sock"
    ends = Ends(socket)
    ends.add(11, -11)
    began_s = time.monotonic()
    assert find_end(11, socket, since_s=began_s) is None
    ends.add(11, -9)
    assert find_end(11, socket, since_s=began_s) == -9


def test_the_file_is_there_before_any_end(tmp_path):
    """Its absence says that there is no keeper."""
    socket = tmp_path / "engine.sock"
    with pytest.raises(FileNotFoundError):
        find_end(11, socket, since_s=0)
    Ends(socket)
    assert find_end(11, socket, since_s=0) is None


def test_only_the_last_ends_are_kept(tmp_path):
    """A crash loop must not fill a small file system."""
    socket = tmp_path / "engine.sock"
    ends = Ends(socket)
    for pid in range(1000):
        ends.add(pid, -9)
    assert find_end(999 - KEPT, socket, since_s=0) is None
    assert find_end(1000 - KEPT, socket, since_s=0) == -9
    assert ends_path(socket).stat().st_size < 64 * KEPT
    assert [path.name for path in tmp_path.iterdir()] == ["engine.ends"]


def test_a_place_that_cannot_be_written_does_not_end_the_keeper():
    """It has workers to look after."""
    ends = Ends(Path("/no/such/place/engine.sock"))
    ends.add(11, -9)


def test_an_end_is_described():
    """For the log."""
    assert describe_end(-11) == "signal SIGSEGV"
    assert describe_end(-200) == "signal 200"
    assert describe_end(70) == "exit code 70"
