"""The service file and its drop-ins, judged by systemd itself."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from whisper_router.settings import Settings

SYSTEMD = Path(__file__).parents[2] / "systemd"
UNIT = SYSTEMD / "whisper-router.service"
DROP_INS = sorted((SYSTEMD / "drop-ins").glob("*.conf"))
DEFAULTS = Settings.model_construct()
PROGRAM = "/opt/whisper-router/bin/whisper-router"

LAYOUTS = [
    pytest.param((), id="alone"),
    *(pytest.param((path,), id=path.stem) for path in DROP_INS),
    pytest.param(tuple(DROP_INS), id="all-drop-ins"),
]


@pytest.fixture
def install(tmp_path):
    """Lay the unit and drop-ins out as under /etc, with a program that exists here."""

    def installed(drop_ins: Sequence[Path]) -> Path:
        unit = tmp_path / UNIT.name
        text = UNIT.read_text()
        assert f"ExecStart={PROGRAM} " in text
        unit.write_text(text.replace(PROGRAM, "/bin/true"))
        folder = tmp_path / f"{UNIT.name}.d"
        folder.mkdir()
        for path in drop_ins:
            (folder / path.name).write_text(path.read_text())
        return unit

    return installed


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze and return what it said."""
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def complaints(verdict: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what was said of our unit; other units of this machine are not our business."""
    return [line for line in verdict.stderr.splitlines() if UNIT.stem in line]


def values(path: Path, key: str) -> list[str]:
    """Return the values of `key`, in order."""
    return re.findall(rf"^{key}=(.*)$", path.read_text(), flags=re.MULTILINE)


def seconds(text: str) -> float:
    """Return a systemd time span of one unit in seconds."""
    [(number, unit)] = re.findall(r"^(\d+)(s|min)$", text)
    return float(number) * {"s": 1, "min": 60}[unit]


@pytest.mark.parametrize("drop_ins", LAYOUTS)
def test_systemd_accepts_every_line_of_the_unit(install, drop_ins):
    """`verify` exits 0 when it ignores a line it cannot read, so it must also say nothing."""
    verdict = analyze("verify", install(drop_ins))

    assert (verdict.returncode, complaints(verdict)) == (0, [])


@pytest.mark.parametrize("drop_ins", LAYOUTS)
def test_the_exposure_of_the_unit_is_at_most_2_5(install, drop_ins):
    """`systemd-analyze security` counts in tenths and fails above the threshold."""
    verdict = analyze("security", "--offline=true", "--threshold=25", install(drop_ins))

    assert verdict.returncode == 0, verdict.stdout[-300:] + verdict.stderr
    assert "Overall exposure level for whisper-router.service" in verdict.stdout


def test_a_unit_without_its_hardening_would_fail_the_exposure_test(tmp_path):
    """The threshold can fail."""
    unit = tmp_path / "bare.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")

    assert analyze("security", "--offline=true", "--threshold=25", unit).returncode != 0


def test_a_line_that_systemd_cannot_read_would_fail_the_verify_test(tmp_path):
    """`verify` speaks up on stderr."""
    unit = tmp_path / UNIT.name
    unit.write_text("[Service]\nExecStart=/bin/true\nProtectSystem=sometimes\n")

    [complaint] = complaints(analyze("verify", unit))
    assert "sometimes" in complaint


def test_systemd_waits_longer_for_the_stop_than_the_router_takes():
    """Running requests and then the engines get their time before systemd kills what is left."""
    [stop] = values(UNIT, "TimeoutStopSec")
    router_s = DEFAULTS.server.shutdown_grace_s + DEFAULTS.supervision.stop_grace_s

    assert seconds(stop) >= router_s + 10
    assert values(UNIT, "KillMode") == ["mixed"]


def test_systemd_waits_longer_for_the_start_than_a_silent_engine_may_take():
    """An alias with `preload` may start its engine before the router says that it is ready."""
    [start] = values(UNIT, "TimeoutStartSec")

    assert seconds(start) > DEFAULTS.supervision.start_silence_s


def test_the_start_is_tried_until_a_late_network_is_there_and_not_for_ever():
    """A wrong setting would fill the journal otherwise."""
    [pause], [burst], [interval] = (
        values(UNIT, key) for key in ("RestartSec", "StartLimitBurst", "StartLimitIntervalSec")
    )
    tried_s = seconds(pause) * int(burst)
    assert 240 <= tried_s < seconds(interval)


def test_the_router_is_told_of_its_notify_socket_and_watchdog():
    """READY, STOPPING and WATCHDOG are taken from the router's own process only."""
    assert values(UNIT, "Type") == ["notify"]
    assert values(UNIT, "NotifyAccess") == ["main"]
    assert seconds(*values(UNIT, "WatchdogSec")) == 30


def test_an_engine_killed_for_memory_does_not_stop_the_service():
    """systemd's default is to stop everything when the kernel kills one process of a service."""
    assert values(UNIT, "OOMPolicy") == ["continue"]


def test_the_keys_reach_the_router_as_a_credential_that_may_be_absent():
    """LoadCredential= of a missing file is fatal, unless SetCredential= gives a default."""
    [loaded], [default] = values(UNIT, "LoadCredential"), values(UNIT, "SetCredential")

    assert loaded == "keys.toml:/etc/whisper-router/keys.toml"
    assert default.startswith("keys.toml:#")
    assert "WHISPER_ROUTER__AUTH__KEYS_FILE=%d/keys.toml" in values(UNIT, "Environment")


def test_what_the_settings_show_as_examples_can_be_written_under_the_sandbox():
    """Nothing else of the file system can."""
    example = (SYSTEMD.parent / "config" / "router.toml").read_text(encoding="utf-8")
    named = re.findall(r'^#\w+ = "/var/(\w+)/whisper-router/', example, flags=re.MULTILINE)
    directories = {"cache": "Cache", "lib": "State", "log": "Logs"}
    assert {"lib", "log"} <= set(named)
    for name in named:
        assert values(UNIT, f"{directories[name]}Directory") == ["whisper-router"]
        assert values(UNIT, f"{directories[name]}DirectoryMode") == ["0700"]


def test_no_library_reports_its_use_to_its_maker():
    """ONNX Runtime 1.31 does; its switch must be set before it is imported."""
    assert "ORT_DISABLE_TELEMETRY=1" in values(UNIT, "Environment")
