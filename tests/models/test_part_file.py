"""The incomplete file on disk."""

import hashlib
from pathlib import Path

import pytest

from whisper_router.errors import StorageFull
from whisper_router.models.part_file import PartFile, check_room


@pytest.fixture
def part(tmp_path: Path) -> PartFile:
    return PartFile(tmp_path / "m.bin.part", tmp_path / "m.bin")


def test_it_grows_where_it_ended(part: PartFile) -> None:
    """Closed and opened again, it goes on; what lies behind the kept bytes is dropped."""
    assert part.size_bytes == 0
    part.open(keep_bytes=0)
    part.write(b"abcdef")
    part.close()
    part.open(keep_bytes=4)
    part.write(b"EF")
    part.close()
    assert part.path.read_bytes() == b"abcdEF"
    part.open(keep_bytes=0)
    part.close()
    assert part.size_bytes == 0


def test_its_digests_are_those_of_the_whole(part: PartFile) -> None:
    """Also of the bytes that were there before."""
    part.path.write_bytes(b"abc")
    blocks: list[int] = []
    sha256, sha1 = part.digests(on_block=lambda: blocks.append(1))
    assert sha256 == hashlib.sha256(b"abc").hexdigest()
    assert sha1 == hashlib.sha1(b"abc", usedforsecurity=False).hexdigest()
    assert blocks == [1]


def test_publishing_replaces_what_has_the_name(part: PartFile) -> None:
    """At once: a reader sees the old file or the new one."""
    target = part.path.with_name("m.bin")
    target.write_bytes(b"old")
    part.path.write_bytes(b"new")
    part.publish()
    assert target.read_bytes() == b"new"
    assert not part.path.exists()


def test_room_is_counted_with_what_must_stay_free(tmp_path: Path) -> None:
    """A byte fits; a byte beside an exbibyte does not."""
    check_room(tmp_path, needed_bytes=1, min_free_bytes=0)
    with pytest.raises(StorageFull, match=str(tmp_path)):
        check_room(tmp_path, needed_bytes=1, min_free_bytes=2**60)
