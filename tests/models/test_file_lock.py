"""One holder at a time, and none after its end."""

from pathlib import Path

import pytest

from whisper_router.errors import ModelUnavailable
from whisper_router.models.file_lock import lock_file, try_lock


def test_a_lock_has_one_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    """Two openings of the file are two parties, as two processes are."""
    path = tmp_path / "new" / "x.lock"
    with lock_file(path) as first:
        assert try_lock(first)
        with lock_file(path) as second:
            assert not try_lock(second)
    with lock_file(path) as third:
        assert try_lock(third)


def test_a_place_where_no_lock_can_be_is_named(tmp_path: Path) -> None:
    """A file where a folder should be."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ModelUnavailable, match="cannot be written or deleted"),
        lock_file(tmp_path / "file" / "x.lock"),
    ):
        pass
