"""The program that keeps a whisper-server, with real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from support.speech import DEMO_MODEL
from whisper_router_engines.whisper_server.engine import KEEPER_MODULE

LIMIT_S = 20
SLEEP = ("sh", "-c", "echo begun; exec sleep 60")
DEAF = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); "
    "print('begun', flush=True); time.sleep(60)",
)


@contextmanager
def keeper(
    *command: str, model: Path = DEMO_MODEL, cores: int = 0
) -> Iterator["subprocess.Popen[str]"]:
    """A keeper of `command`, ended by its own id."""
    argv = [sys.executable, "-P", "-m", KEEPER_MODULE, "--model", str(model)]
    process = subprocess.Popen(
        [*argv, "--share-of-cores", str(cores), "--", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(LIMIT_S)
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def program_of(process: "subprocess.Popen[str]") -> psutil.Process:
    """Return the kept program once it has begun."""
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    (child,) = psutil.Process(process.pid).children()
    return child


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Return the exit code and what it said on stderr."""
    assert process.stderr is not None
    code = process.wait(LIMIT_S)
    return code, process.stderr.read()


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -SEGV $$", 139)])
def test_it_ends_as_its_program_does(script, code):
    """A signal is told as a shell tells it."""
    with keeper("sh", "-c", script) as process:
        assert ended(process) == (code, "")


def test_an_end_that_nobody_asked_for_is_no_success():
    """whisper-server exits with 0 when it does not know a flag."""
    with keeper("true") as process:
        code, said = ended(process)
    assert code == 1
    assert said == "whisper-server ended by itself with exit code 0\n"


def test_a_program_that_is_not_there_is_named():
    """With the option that says which it is."""
    with keeper("/no/such/whisper-server") as process:
        code, said = ended(process)
    assert code == 127
    assert said.startswith("error: cannot run '/no/such/whisper-server' (option `binary`)")


def test_a_program_that_may_not_be_run_is_named(tmp_path):
    """126, as a shell answers."""
    (tmp_path / "server").write_text("no program")
    with keeper(str(tmp_path / "server")) as process:
        assert ended(process)[0] == 126


def test_a_file_that_is_no_model_is_seen_before_the_program_runs(tmp_path):
    """whisper-server would not name it."""
    (tmp_path / "wrong.bin").write_bytes(b"GGUF and more")
    with keeper("touch", str(tmp_path / "ran"), model=tmp_path / "wrong.bin") as process:
        code, said = ended(process)
    assert code == 1
    assert said.startswith(f"error: {tmp_path / 'wrong.bin'}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", [SLEEP, DEAF])
def test_sigterm_ends_the_program_even_one_that_is_deaf(command):
    """And it was asked for, so the exit code is 0."""
    with keeper(*command) as process:
        program = program_of(process)
        process.terminate()
        assert ended(process) == (0, "")
        assert not program.is_running()


def test_the_end_of_stdin_ends_the_program():
    """The router is gone."""
    with keeper(*SLEEP) as process:
        program = program_of(process)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(LIMIT_S) == 0
        assert not program.is_running()


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_the_program_does_not_outlive_a_killed_keeper():
    """The kernel sees to it."""
    with keeper(*SLEEP) as process:
        program = program_of(process)
        process.kill()
        process.wait(LIMIT_S)
        psutil.wait_procs([program], timeout=LIMIT_S)
        assert not program.is_running()


def test_the_model_and_a_share_of_the_cores_are_passed_on():
    """After the program's own arguments."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    script = "echo $0 $*; exit 3"
    with keeper("sh", "-c", script, "--port", "1", cores=cores) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"--port 1 -m {DEMO_MODEL} -t 1\n"
        assert ended(process)[0] == 3


def test_a_killed_program_is_told_from_a_crash():
    """137: somebody sent SIGKILL."""
    with keeper(*SLEEP) as process:
        program_of(process).send_signal(signal.SIGKILL)
        assert ended(process) == (128 + signal.SIGKILL, "")
