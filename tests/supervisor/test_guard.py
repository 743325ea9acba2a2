"""What a dead router leaves behind is found and ended; what is not ours is left alone."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.processes import gone, is_alive, written
from whisper_router.supervisor import proctable
from whisper_router.supervisor.guard import (
    RUN_VARIABLE,
    START_VARIABLE,
    RunDirectory,
    kill_marked,
    limited,
    signal_group,
    sweep,
)

OLD, ONE, OTHER = (f"{name}-{os.getpid()}" for name in ("old", "one", "other"))
"""Markers are looked for on the whole machine, where these tests may run twice at a time."""
PROGRAM = Path(__file__).parents[1] / "support" / "orphaning_router.py"


@pytest.fixture
def sleeper():
    """Start processes with chosen markers; they are killed and reaped at the end."""
    started = []

    def start(**env: str) -> int:
        child = subprocess.Popen(["sleep", "60"], env={**os.environ, **env}, start_new_session=True)
        started.append(child)
        while not all(proctable.has_marker(child.pid, f"{name}={env[name]}") for name in env):
            pass  # the kernel says that a program runs a moment before it shows its environment
        return child.pid

    yield start
    for child in started:
        child.kill()
        child.wait()


def leave_record(run_dir: Path, pid: int, **changes: object) -> Path:
    """Write the record that a router which is dead by now would have left."""
    (run_dir / "engines").mkdir(parents=True, exist_ok=True)
    row = proctable.read_row(pid)
    record = {
        "pid": pid,
        "started": row.started if row else "x",
        "alias": "test",
        "run": OLD,
        "router_pid": os.getpid(),
        "router_started": "an earlier life",
        **changes,
    }
    path = run_dir / "engines" / f"{pid}.json"
    path.write_text(json.dumps(record))
    return path


def test_a_leftover_of_a_dead_router_is_killed_and_forgotten(tmp_path, sleeper):
    """Pid, start time and marker are as recorded."""
    pid = sleeper(**{RUN_VARIABLE: OLD})
    socket = tmp_path / "sockets" / "a.sock"
    socket.parent.mkdir()
    socket.touch()
    beside, other = socket.with_suffix(".ends"), socket.with_name("ab.sock")
    beside.touch()
    other.touch()
    record = leave_record(tmp_path, pid, socket=str(socket))
    assert [left.alias for left in sweep(tmp_path)] == ["test"]
    assert not is_alive(pid)
    assert not record.exists()
    assert not socket.exists()
    assert not beside.exists()
    assert other.exists()
    assert sweep(tmp_path) == ()


@pytest.mark.parametrize(
    ("marker", "changes"),
    [
        ("nobody's", {"started": "another time"}),
        ("somebody else's", {}),
    ],
)
def test_a_process_that_only_has_the_pid_is_left_alone(tmp_path, sleeper, marker, changes):
    """Pids are reused: what was not started by that router is not killed."""
    pid = sleeper(**{RUN_VARIABLE: marker})
    record = leave_record(tmp_path, pid, **changes)
    sweep(tmp_path)
    assert is_alive(pid)
    assert not record.exists()


def test_engines_of_a_living_router_are_left_alone(tmp_path, sleeper):
    """Two routers may share a directory."""
    pid = sleeper(**{RUN_VARIABLE: OLD})
    own = proctable.read_row(os.getpid())
    record = leave_record(tmp_path, pid, router_started=own.started)
    assert sweep(tmp_path) == ()
    assert is_alive(pid)
    assert record.exists()


def test_a_grandchild_whose_leader_is_gone_is_found_by_its_marker(tmp_path, sleeper):
    """Who carries the dead router's marker is ours, whatever its group."""
    pid = sleeper(**{RUN_VARIABLE: OLD})
    leave_record(tmp_path, 2**22 + 1, started="x")
    sweep(tmp_path)
    assert not is_alive(pid)


def test_a_broken_record_is_dropped(tmp_path):
    """A full disk may have cut it short."""
    path = leave_record(tmp_path, os.getpid())
    path.write_text('{"pid": 1')
    assert sweep(tmp_path) == ()
    assert not path.exists()


def test_an_absent_directory_holds_nothing(tmp_path):
    """The first start ever has nothing to sweep."""
    assert sweep(tmp_path / "none") == ()


def test_the_run_directory_is_private(tmp_path):
    """Who may connect to an engine's socket may hear what others said."""
    runs = RunDirectory(tmp_path / "a" / "run")
    runs.open()
    for path in (tmp_path / "a" / "run", *(tmp_path / "a" / "run").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_sockets_have_short_new_names_even_in_a_deep_directory(tmp_path):
    """The system takes paths of less than 104 bytes only."""
    runs = RunDirectory(tmp_path / ("deep" * 30))
    runs.open()
    first, second = runs.new_socket(), runs.new_socket()
    assert first != second
    assert len(os.fsencode(first)) < 104
    assert first.parent.is_dir()
    runs.close()
    assert not first.parent.exists()


def test_sockets_can_be_bound_even_when_the_temporary_directory_is_deep_too(tmp_path, monkeypatch):
    """macOS has a long TMPDIR for each user; build systems have longer ones."""
    deep = tmp_path / ("d" * 60)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    runs = RunDirectory(deep / "run")
    runs.open()
    with socket.socket(socket.AF_UNIX) as listener:
        path = runs.new_socket()
        listener.bind(str(path))
        path.unlink()
    runs.close()
    assert not path.parent.exists()


def test_a_router_that_is_killed_again_and_again_leaves_one_directory_of_sockets(tmp_path):
    """The next one uses it, although no record tells of it; the last one removes it."""
    run = tmp_path / ("deep" * 30)
    killed = RunDirectory(run)
    killed.open()
    folder = killed.new_socket().parent
    for _ in range(2):
        runs = RunDirectory(run)
        runs.open()
        assert runs.new_socket().parent == folder
    runs.close()
    assert not folder.exists()


@pytest.mark.parametrize("habit", ["open to others", "a link"])
def test_what_others_have_put_in_the_place_of_our_sockets_is_not_used(tmp_path, habit):
    """/tmp belongs to everybody, and the name can be known."""
    run = tmp_path / ("deep" * 30)
    first = RunDirectory(run)
    first.open()
    place = first.new_socket().parent
    first.close()
    if habit == "a link":
        place.symlink_to(tmp_path)
    else:
        place.mkdir(mode=0o777)
        place.chmod(0o777)
    second = RunDirectory(run)
    try:
        second.open()
        assert second.new_socket().parent != place
        second.close()
    finally:
        place.unlink() if habit == "a link" else place.rmdir()


def test_children_get_our_environment_without_what_systemd_told_us(tmp_path, monkeypatch):
    """An engine must not answer for the router to the service manager."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("KEPT", "yes")
    runs = RunDirectory(tmp_path)
    env = runs.environment({"OWN": "1"}, "seven")
    assert "NOTIFY_SOCKET" not in env
    assert (env["KEPT"], env["OWN"]) == ("yes", "1")
    assert (env[RUN_VARIABLE], env[START_VARIABLE]) == (runs.run_id, "seven")


def test_killing_by_marker_spares_the_others(sleeper):
    """Exactly the marked processes are killed."""
    marked, other = sleeper(**{START_VARIABLE: ONE}), sleeper(**{START_VARIABLE: OTHER})
    assert kill_marked(START_VARIABLE, ONE) == [marked]
    os.waitpid(marked, 0)
    assert is_alive(other)


def test_signalling_a_group_that_is_gone_is_no_error():
    """It is what was wanted."""
    child = subprocess.Popen(["true"], start_new_session=True)
    child.wait()
    signal_group(child.pid, signal.SIGKILL)


@pytest.mark.parametrize("habit", ["", "--deaf", "--ignore-sigterm"])
async def test_no_engine_survives_a_router_that_is_killed(tmp_path, habit):
    """The engine's stdin ends, and the kernel kills who does not care."""
    router, pids = await killed_router(tmp_path, *([habit] if habit else []))
    try:
        async with asyncio.timeout(15):
            for pid in pids:
                await gone(pid)
    finally:
        router.wait()


async def test_what_survives_a_killed_router_is_swept_up_by_the_next(tmp_path):
    """A grandchild that ignores everything and left the session is found all the same."""
    router, pids = await killed_router(
        tmp_path, "--deaf", "--escaped-grandchild", str(tmp_path / "grandchild")
    )
    grandchild = int(await written(tmp_path / "grandchild"))
    router.wait()
    async with asyncio.timeout(15):
        await gone(pids[0])
        assert is_alive(grandchild)
        left = await asyncio.to_thread(RunDirectory(tmp_path / "run").open)
        await gone(grandchild)
    assert [record.pid for record in left] == pids
    assert [path for path in (tmp_path / "run").rglob("*") if not path.is_dir()] == []


async def killed_router(tmp_path: Path, *flags: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Run a router with one ready engine and kill it; return it and its engine's pid."""
    router = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path / "run"), str(tmp_path / "ready"), *flags],
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(20):
            pids = [int(await written(tmp_path / "ready"))]
    finally:
        router.kill()
    return router, pids


def test_a_program_that_is_not_guarded_gets_its_limit_from_the_shell():
    """Where there is no PR_SET_PDEATHSIG; arguments pass as they are."""
    shown = ("sh", "-c", 'ulimit -Sn; echo "$1"', "sh", "a  b")
    answer = subprocess.run(limited(shown, files=100), capture_output=True, text=True, check=True)
    assert answer.stdout == "100\na  b\n"
