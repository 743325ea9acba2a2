"""The launchd property list, read as launchd reads it."""

import plistlib
from pathlib import Path

import pytest

from whisper_router.settings import Settings

PLIST = Path(__file__).parents[2] / "systemd" / "launchd" / "org.whisper-router.server.plist"
GUIDE = PLIST.parents[2] / "docs" / "operations.md"
DEFAULTS = Settings.model_construct()
HOME = "/Users/somebody"


@pytest.fixture
def job():
    """The job as `sed "s|@HOME@|$HOME|g"` installs it."""
    return plistlib.loads(PLIST.read_text().replace("@HOME@", HOME).encode())


def test_the_label_is_the_name_of_the_file(job):
    """launchctl is given the one, finds the other."""
    assert job["Label"] == PLIST.stem


def test_every_path_is_absolute_once_the_home_is_put_in(job):
    """launchd expands neither variables nor `~`."""
    program, command, flag, config = job["ProgramArguments"]
    paths = (program, config, *(job[key] for key in ("WorkingDirectory", *log_keys(job))))

    assert (command, flag) == ("serve", "--config")
    assert all(Path(path).is_absolute() for path in paths)


def test_it_starts_at_login_and_after_a_crash_only(job):
    """An orderly stop is not undone."""
    assert job["RunAtLoad"] is True
    assert job["KeepAlive"] == {"SuccessfulExit": False}


def test_launchd_does_not_slow_the_router_down(job):
    """Every other process type has its processor and disk use throttled."""
    assert job["ProcessType"] == "Interactive"


def test_launchd_waits_longer_for_the_stop_than_the_router_takes(job):
    """Running requests and then the engines get their time before SIGKILL."""
    router_s = DEFAULTS.server.shutdown_grace_s + DEFAULTS.supervision.stop_grace_s

    assert job["ExitTimeOut"] >= router_s + 10


def test_files_are_private_and_may_be_many(job):
    """The mask is a decimal number in a property list."""
    assert job["Umask"] == 0o077
    assert job["SoftResourceLimits"]["NumberOfFiles"] >= 16384


def test_the_log_is_one_of_the_user_that_can_be_rotated(job):
    """Console.app shows what lies in ~/Library/Logs. launchd would never open it again."""
    log = job["EnvironmentVariables"]["WHISPER_ROUTER__SERVER__LOG_FILE"]
    outputs = {job[key] for key in log_keys(job)}
    assert outputs == {f"{HOME}/Library/Logs/whisper-router-start.log"}
    assert log == f"{HOME}/Library/Logs/whisper-router.log"
    assert f"/Users/USER/Library/Logs/{Path(log).name} " in GUIDE.read_text(encoding="utf-8")


def test_no_library_reports_its_use_to_its_maker(job):
    """ONNX Runtime does; its switch must be set before it is imported."""
    assert job["EnvironmentVariables"]["ORT_DISABLE_TELEMETRY"] == "1"


def log_keys(job: dict[str, object]) -> list[str]:
    """Return the keys that name log files."""
    return sorted(key for key in job if key.startswith("Standard"))
