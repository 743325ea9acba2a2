"""The kernel's count of processes that were killed for want of memory."""

from pathlib import Path

import pytest

from whisper_router.supervisor.oom import VMSTAT, oom_kills


def test_the_count_is_read(tmp_path):
    """It stands among many others, of which some have longer names."""
    path = tmp_path / "vmstat"
    path.write_text("nr_free_pages 5\noom_kill_other 9\noom_kill 3\nnumber 7\n")
    assert oom_kills(path) == 3


@pytest.mark.parametrize("text", ["", "nr_free_pages 5\n"])
def test_a_kernel_that_does_not_tell_counts_none(tmp_path, text):
    """Then a kill for want of memory cannot be told from any other."""
    path = tmp_path / "vmstat"
    path.write_text(text)
    assert oom_kills(path) == 0


def test_no_such_file_counts_none():
    """As on macOS."""
    assert oom_kills(Path("/no/such/file")) == 0


def test_this_machine_tells():
    """Readable by everybody, and it never falls."""
    assert "oom_kill " in VMSTAT.read_text()
    first = oom_kills()
    assert oom_kills() >= first >= 0
