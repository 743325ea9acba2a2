"""A file that others may move away. The audit's tests show the same, and what a full disk does."""

from pathlib import Path

import pytest

from whisper_router.append_file import AppendFile, UnwrittenError


def test_lines_go_to_a_new_file_once_the_old_one_was_moved(tmp_path: Path):
    """Or deleted."""
    path, old = tmp_path / "folder" / "log", tmp_path / "log.0"
    file = AppendFile(path)
    for line in (b"one\n", b"two\n", b"three\n"):
        file.write(line)
        if not old.exists():
            path.rename(old)
        elif line == b"two\n":
            path.unlink()
    file.close()
    assert (old.read_bytes(), path.read_bytes()) == (b"one\n", b"three\n")


def test_what_cannot_be_written_is_counted(tmp_path: Path):
    """By lines."""
    path = tmp_path / "folder" / "log"
    file = AppendFile(path)
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(UnwrittenError) as told:
        file.write(b"one\ntwo\n")
    file.close()
    assert told.value.lines == 2
