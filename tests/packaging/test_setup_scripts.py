"""tools/apt-packages.sh with other programs in the place of dpkg, apt-get, id and sudo."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "apt-packages.sh"
NEEDED = ("sh", "grep", "dirname")


@pytest.fixture
def run(tmp_path):
    """Run the script where only `present` is installed; returns it and what sudo was asked for."""

    def program(name: str, text: str) -> None:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(*names: str, present: str = "", user: int = 1000, sudo: str = "exit 0"):
        asked = tmp_path / "asked"
        asked.touch()
        for name in NEEDED:
            program(name, f'exec {shutil.which(name)} "$@"')
        program("id", f"echo {user}")
        program("dpkg-query", f'[ "$4" = "{present}" ] && echo "install ok installed"')
        program("apt-get", "exit 99")
        if sudo:
            program("sudo", f'echo "$*" >> "{asked}"\n{sudo}')
        done = subprocess.run(
            ["/bin/sh", str(SCRIPT), *names],
            env={"PATH": str(tmp_path / "bin"), "POLICY_RC_D": str(tmp_path / "policy-rc.d")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, asked.read_text().splitlines()

    return run


def test_what_is_installed_is_left_alone(run):
    """No apt-get, no output, no need of any right."""
    done, asked = run("caddy", present="caddy", sudo="")
    assert (done.returncode, done.stdout, done.stderr, asked) == (0, "", "", [])


def test_what_is_missing_is_named_and_installed(run):
    """Lists first; the services of the packages are not started, and nothing is left behind."""
    done, asked = run("caddy", "espeak-ng", present="caddy")
    assert done.returncode == 0
    assert done.stdout == "Installing with apt-get: espeak-ng\n"
    assert [line for line in asked if "update" in line]
    assert [line for line in asked if "install" in line and line.endswith("espeak-ng")]
    assert asked[-1].startswith("rm -f ")
    assert asked[-1].endswith("/policy-rc.d")


def test_a_failed_installation_leaves_no_policy_behind(run):
    """A policy-rc.d that stays would keep the machine from starting services at all."""
    done, asked = run("espeak-ng", sudo='case "$*" in *install*) exit 100;; esac')
    assert done.returncode == 100
    assert asked[-1].startswith("rm -f ")
    assert asked[-1].endswith("/policy-rc.d")


def test_unreachable_package_lists_do_not_stop_it(run):
    """The lists that are here may do."""
    done, asked = run("espeak-ng", sudo='case "$*" in *update*) exit 100;; esac')
    assert done.returncode == 0
    assert "trying with the package lists that are here" in done.stderr
    assert [line for line in asked if "install" in line]


def test_without_sudo_it_says_what_root_must_do(run):
    """Exit code 1 and the command."""
    done, _ = run("espeak-ng", "ffmpeg", sudo="")
    assert done.returncode == 1
    assert done.stderr == "These packages are missing; as root: apt-get install espeak-ng ffmpeg\n"
