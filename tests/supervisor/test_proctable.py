"""The table of processes, of this machine as it is."""

import os
import subprocess
import sys

import pytest

from whisper_router.supervisor import proctable


@pytest.fixture
def sleeper():
    """A child in a session of its own, with a marker in its environment."""
    child = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 & wait"],
        env={**os.environ, "MARKER": "seven"},
        start_new_session=True,
    )
    while not proctable.has_marker(child.pid, "MARKER=seven"):
        pass  # the kernel says that a program runs a moment before it shows its environment
    yield child
    os.killpg(child.pid, 9)
    child.wait()


@pytest.mark.parametrize("read", [proctable.read_table, proctable.ps_table])
def test_a_child_is_found_with_its_parent_and_group(sleeper, read):
    """/proc and ps tell the same."""
    row = read()[sleeper.pid]
    assert (row.parent, row.group, row.session) == (os.getpid(), sleeper.pid, sleeper.pid)
    own = read()[os.getpid()]
    assert own.rss_bytes > 1_000_000
    assert own.cpu_s > 0


def test_a_start_time_stays_and_tells_processes_apart(sleeper):
    """Pid and start time together name a process for ever."""
    first = proctable.read_row(sleeper.pid)
    again = proctable.read_row(sleeper.pid)
    own = proctable.read_row(os.getpid())
    assert first.started == again.started != own.started


def test_there_is_no_row_for_the_dead():
    """Neither for a reaped process nor for a zombie."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""], stdout=subprocess.PIPE)
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert proctable.read_row(child.pid) is None  # a zombie
    child.wait()
    child.stdout.close()
    assert proctable.read_row(child.pid) is None


def test_a_family_is_the_group_the_session_and_the_descendants():
    """Who moves to another group is still found by its parent, or by its session."""
    rows = {
        10: row(10, parent=1, group=10, session=10),
        11: row(11, parent=10, group=10, session=10),
        12: row(12, parent=1, group=12, session=10),
        13: row(13, parent=11, group=13, session=13),
        14: row(14, parent=13, group=13, session=13),
        20: row(20, parent=1, group=20, session=20),
    }
    assert [member.pid for member in proctable.family(10, rows)] == [10, 11, 12, 13, 14]
    assert proctable.family(99, rows) == []


def row(pid: int, *, parent: int, group: int, session: int) -> proctable.Row:
    return proctable.Row(
        pid=pid, parent=parent, group=group, session=session, cpu_s=0, rss_bytes=0, started="x"
    )


def test_markers_are_read_from_the_environment(sleeper):
    """Exactly, not by prefix; unreadable is not the same as absent."""
    assert proctable.has_marker(sleeper.pid, "MARKER=seven") is True
    assert proctable.has_marker(sleeper.pid, "MARKER=seve") is False
    assert proctable.has_marker(2**22 + 1, "MARKER=seven") is None
    assert sleeper.pid in proctable.find_marked("MARKER=seven")
