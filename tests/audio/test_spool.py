"""The spool directory, with real processes that die."""

import os
import signal
import subprocess
import sys

import pytest

from whisper_router.audio.spool import Spool, SpoolFile, process_start_time
from whisper_router.errors import ConfigurationError

HOLDER = """
import sys, pathlib
from whisper_router.audio.spool import Spool
spool = Spool.create(pathlib.Path(sys.argv[1]))
spool.new_path().write_bytes(b"left over")
print(spool.directory, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process with a spool under the same root, and its directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "root"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    directory = process.stdout.readline().strip()
    yield process, tmp_path / "root" / os.path.basename(directory)  # noqa: PTH119
    process.kill()
    process.communicate(timeout=10)


def test_the_directory_is_private_and_gone_after_close(tmp_path):
    """Nobody else may read uploads; nothing stays."""
    with Spool.create(tmp_path / "a" / "root") as spool:
        assert spool.directory.stat().st_mode & 0o777 == 0o700
        assert spool.directory.parent.stat().st_mode & 0o777 == 0o700
        spool.new_path(".f32").write_bytes(b"x")
        assert spool.free_bytes() > 0
    assert list((tmp_path / "a" / "root").iterdir()) == []


def test_names_are_fresh_and_not_created(tmp_path):
    """A path is only a name."""
    with Spool.create(tmp_path) as spool:
        paths = {spool.new_path(".wav") for _ in range(100)}
        assert len(paths) == 100
        assert all(path.suffix == ".wav" and not path.exists() for path in paths)


def test_two_spools_of_one_process_do_not_share(tmp_path):
    """A second one gets its own directory."""
    with Spool.create(tmp_path) as first, Spool.create(tmp_path) as second:
        assert first.directory != second.directory
        assert first.directory.exists()


def test_the_directory_of_a_killed_process_is_swept(tmp_path, holder):
    """What a SIGKILL left is removed by the next start."""
    process, left = holder
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert list(left.iterdir())
    with Spool.create(tmp_path / "root") as spool:
        assert list((tmp_path / "root").iterdir()) == [spool.directory]


def test_the_directory_of_a_living_process_is_left_alone(tmp_path, holder):
    """Two routers may share a root."""
    _process, theirs = holder
    with Spool.create(tmp_path / "root"):
        assert len(list(theirs.iterdir())) == 1


def test_a_locked_directory_is_kept_though_its_process_id_is_unknown_here(tmp_path, holder):
    """Process ids of another container mean nothing; its lock does."""
    _process, theirs = holder
    renamed = theirs.rename(theirs.parent / "run-999999999-1")
    with Spool.create(tmp_path / "root"):
        assert renamed.exists()


def test_a_reused_process_id_does_not_protect_a_leftover(tmp_path):
    """The start time tells the old process from the one that has its id now."""
    left = tmp_path / f"run-{os.getpid()}-1"
    left.mkdir()
    with Spool.create(tmp_path):
        assert not left.exists()


def test_other_files_and_links_in_the_root_are_not_touched(tmp_path):
    """Only our own names are swept, and never through a link."""
    precious = tmp_path / "elsewhere"
    precious.mkdir()
    (precious / "file").write_text("kept")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "notes.txt").write_text("kept")
    (tmp_path / "root" / "run-1-1").symlink_to(precious)
    with Spool.create(tmp_path / "root"):
        assert (precious / "file").exists()
        assert (tmp_path / "root" / "notes.txt").exists()


def test_an_unusable_root_is_a_configuration_error(tmp_path):
    """A file where the directory should be ends the start with a reason."""
    (tmp_path / "root").write_text("a file")
    with pytest.raises(ConfigurationError, match="spool directory"):
        Spool.create(tmp_path / "root")


def test_start_times_tell_processes_apart():
    """The parent and a child that starts later differ; nobody has process id 2^30."""
    assert process_start_time(os.getpid()) == process_start_time(os.getpid())
    assert process_start_time(os.getpid()) != process_start_time(1)
    assert process_start_time(1 << 30) is None


def test_a_kept_file_stays_as_it_is(tmp_path):
    """Whoever has it now may write to it and delete it."""
    file = SpoolFile(tmp_path / "upload")
    file.write(bytearray(b"abc"))
    file.keep()
    file.write(bytearray(b"def"))
    file.discard()
    assert file.path.read_bytes() == b"abc"


def test_a_discarded_file_takes_no_more_bytes(tmp_path):
    """A write that comes late does not bring the file back."""
    file = SpoolFile(tmp_path / "upload")
    file.write(bytearray(b"abc"))
    assert (file.size_bytes, file.path.read_bytes()) == (3, b"abc")
    file.discard()
    file.write(bytearray(b"def"))
    assert not file.path.exists()
    file.discard()
