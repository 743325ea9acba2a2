"""What process 1 of a container does, tried by a process that adopts orphans as it does."""

import signal
import subprocess
import sys

import pytest

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
ADOPT = f"""
import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)
from whisper_router.init import fork_server
if (code := fork_server()) is not None:
    sys.exit(code)
"""
ORPHAN = """
reading, writing = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:  # the orphan: it ends when its parent has
        while os.getppid() != init:
            time.sleep(0.001)
        os.write(writing, str(os.getpid()).encode())
        os._exit(0)
    os._exit(0)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", ADOPT + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    ("code", "expected"),
    [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", 137), ("os._exit(130)", 130)],
)
def test_its_exit_code_is_the_routers(code, expected):
    """As a shell reports it, for the container's log."""
    assert run(code).returncode == expected


def test_orphans_are_reaped_and_the_router_goes_on():
    """A zombie would keep its process id for as long as the container runs."""
    done = run(
        f"init = os.getppid()\n{ORPHAN}"
        """
os.wait()
orphan = int(os.read(reading, 10))
while os.path.exists(f"/proc/{orphan}"):
    time.sleep(0.001)
print("reaped")
"""
    )
    assert (done.returncode, done.stdout) == (0, "reaped\n"), done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_go_on_to_the_router(signum):
    """Which ends as it likes."""
    code = f"""
got = []
signal.signal({int(signum)}, lambda number, _: got.append(number))
print("up", flush=True)
while not got:
    time.sleep(0.001)
sys.exit(40 + got[0])
"""
    with subprocess.Popen([sys.executable, "-c", ADOPT + code], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signum)
        assert process.wait(20) == 40 + signum
