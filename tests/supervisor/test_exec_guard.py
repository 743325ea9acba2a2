"""The program that ties engines to the router's life."""

import os
import subprocess
import sys

import pytest

from whisper_router.supervisor.guard import EXEC_GUARD

GUARD = (sys.executable, "-I", "-S", str(EXEC_GUARD))
SHOW_DEATH_SIGNAL = (
    "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print(n.value)"
)


def run(pid: int, *argv: str, files: str = "-") -> subprocess.CompletedProcess[str]:
    command = [*GUARD, str(pid), files, *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)


def test_the_program_dies_with_its_parent():
    """The kernel holds a SIGKILL for it, also after the exec (PR_GET_PDEATHSIG is 2)."""
    answer = run(os.getpid(), sys.executable, "-I", "-S", "-c", SHOW_DEATH_SIGNAL)
    assert answer.stdout.strip() == "9"


def test_a_parent_that_died_before_means_no_program():
    """Nothing is started for a router that is gone already."""
    answer = run(os.getpid() + 1, "echo", "started")
    assert (answer.returncode, answer.stdout) == (1, "")


def test_the_program_gets_its_own_limit_of_descriptors():
    """Those that use select(2) break above 1024; the hard limit stays."""
    shown = ("sh", "-c", "ulimit -Sn; ulimit -Hn")
    before = run(os.getpid(), *shown).stdout.split()
    assert run(os.getpid(), *shown, files="100").stdout.split() == ["100", before[1]]


@pytest.mark.parametrize(
    ("program", "code", "reason"),
    [("/no/such", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied")],
)
def test_a_program_that_cannot_be_run_is_named(program, code, reason):
    """With the codes of a shell, and a line for the person who called."""
    answer = run(os.getpid(), program)
    assert answer.returncode == code
    assert answer.stderr == f"error: cannot run '{program}': {reason}\n"
