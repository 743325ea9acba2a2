"""The jobs' directory."""

import stat

import pytest

from whisper_router.errors import ConfigurationError
from whisper_router.jobs.files import JobFiles


def test_a_directory_has_one_owner_at_a_time(tmp_path):
    """The next one may have it afterwards; what is in it stays."""
    with JobFiles.open(tmp_path / "state") as files:
        (files.spool.directory / "kept").touch()
        with pytest.raises(ConfigurationError, match="another server"):
            JobFiles.open(tmp_path / "state")
    with JobFiles.open(tmp_path / "state") as files:
        assert (files.spool.directory / "kept").exists()
        assert stat.S_IMODE(files.spool.directory.stat().st_mode) == 0o700


def test_a_file_is_taken_over_under_its_jobs_id(tmp_path):
    """With its suffix."""
    upload = tmp_path / "random.wav"
    upload.write_bytes(b"RIFF")
    with JobFiles.open(tmp_path / "state") as files:
        path = files.adopt(upload, "job_1")
        assert (path.name, path.read_bytes()) == ("job_1.wav", b"RIFF")
    assert not upload.exists()


def test_what_cannot_be_used_says_why(tmp_path):
    """A file in its place."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        JobFiles.open(tmp_path / "file")
