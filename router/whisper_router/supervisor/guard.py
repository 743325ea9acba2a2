"""No engine outlives its router.

Three nets, for a router that is killed outright: engines that read their stdin see its end;
on Linux the kernel kills each leader (`exec_guard`); and the next router sweeps up what a record
or a marker in the environment proves to be left over.
"""

import contextlib
import glob
import hashlib
import os
import secrets
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from whisper_router.supervisor import proctable

RUN_VARIABLE: Final = "WHISPER_ROUTER_RUN"
"""Names one life of a router in the environment of all that it starts."""
START_VARIABLE: Final = "WHISPER_ROUTER_START"
"""Names one start of one engine."""
NOT_FOR_CHILDREN: Final = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
)
"""What systemd says to the router only; sd_notify(3), sd_listen_fds(3)."""
SOCKET_PATH_BYTES: Final = 104
"""Room for a Unix socket's path with its final zero: unix(4) on macOS; Linux has 108, unix(7)."""
SHORT_PARENT: Final = Path("/tmp")  # noqa: S108 - mkdtemp makes a directory of ours in it
SWEEP_WAIT_S: Final = 5.0
EXEC_GUARD: Final = Path(__file__).with_name("exec_guard.py")

log = structlog.get_logger(__name__)


class Record(BaseModel):
    """What is written down about a running engine, for the next router to find."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: str
    alias: str
    run: str
    router_pid: int
    router_started: str
    socket: Path | None = None


class RunDirectory:
    """The private directory of one router: sockets of its engines, and records of them.

    `open` and the methods that touch files block for a moment; none may be called twice at once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = secrets.token_hex(8)
        self._router_started = ""
        self._sockets = path / "sockets"

    def open(self) -> tuple[Record, ...]:
        """Make the directory and end what earlier routers left. Returns what was ended."""
        for directory in (self.path, self.path / "engines", self._sockets):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._router_started = _started(os.getpid())
        left = sweep(self.path)
        if not _has_room(self._sockets):
            self._sockets = _short_directory(self.path)
        return left

    def close(self) -> None:
        """Remove the directory of sockets when it is a temporary one."""
        if self._sockets.parent != self.path:
            with contextlib.suppress(OSError):
                self._sockets.rmdir()

    def new_socket(self) -> Path:
        """Return a path that no engine, living or dead, has listened on."""
        return self._sockets / f"{secrets.token_hex(8)}.sock"

    def environment(self, env: Mapping[str, str], start_id: str) -> dict[str, str]:
        """Return the whole environment for a child: ours, `env` over it, and the two markers."""
        inherited = {key: value for key, value in os.environ.items() if key not in NOT_FOR_CHILDREN}
        return {**inherited, **env, RUN_VARIABLE: self.run_id, START_VARIABLE: start_id}

    def record(self, pid: int, *, alias: str, socket: Path | None) -> None:
        """Write down that this child of ours runs."""
        record = Record(
            pid=pid,
            started=_started(pid),
            alias=alias,
            run=self.run_id,
            router_pid=os.getpid(),
            router_started=self._router_started,
            socket=socket,
        )
        path = self._record_path(pid)
        draft = path.with_suffix(".new")
        draft.write_text(record.model_dump_json())
        draft.replace(path)

    def forget(self, pid: int, *, socket: Path | None) -> None:
        """Remove the traces of a child that has ended."""
        self._record_path(pid).unlink(missing_ok=True)
        if socket is not None:
            _remove_socket(socket)

    def _record_path(self, pid: int) -> Path:
        return self.path / "engines" / f"{pid}.json"


def _has_room(sockets: Path) -> bool:
    """Return whether the path of a socket in this directory is short enough to be bound."""
    return len(os.fsencode(sockets / "0123456789abcdef.sock")) < SOCKET_PATH_BYTES


def _short_directory(run_dir: Path) -> Path:
    """Make a temporary directory for sockets. TMPDIR may be as deep as what was too long already.

    Its name follows from the run directory's, so that a router that is killed again and again
    leaves one and not many; but what somebody else has put there is not used.

    Raises:
        OSError: nothing can be made there.
    """
    usual = Path(tempfile.gettempdir())
    name = short_name(run_dir)
    parent = usual if _has_room(usual / name) else SHORT_PARENT
    directory = parent / name
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if not _is_private(directory):
            return Path(tempfile.mkdtemp(prefix="whisper-router-", dir=parent))
    return directory


def short_name(run_dir: Path) -> str:
    """Return the name of the temporary directory that holds the sockets of a deep `run_dir`."""
    digest = hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:8]
    return f"whisper-router-{os.getuid()}-{digest}"


def _is_private(directory: Path) -> bool:
    """Tell whether it is a directory, no link to one, that only this user can use."""
    found = directory.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return is_ours and not found.st_mode & 0o077


def _remove_socket(socket: Path) -> None:
    """Remove a socket with what its process has put beside it; see `engine_api.Endpoint`."""
    for path in (socket, *socket.parent.glob(f"{glob.escape(socket.stem)}.*")):
        with contextlib.suppress(OSError):  # a folder, say: it is removed with the whole directory
            path.unlink(missing_ok=True)


def guarded(argv: tuple[str, ...], *, files: int | None = None) -> tuple[str, ...]:
    """Return the command that runs `argv` so that it dies with this process, where that exists.

    `files` is its soft limit of descriptors; None: as many as this process has.
    """
    if sys.platform != "linux":
        return argv if files is None else limited(argv, files=files)
    limit = "-" if files is None else str(files)
    return (sys.executable, "-I", "-S", str(EXEC_GUARD), str(os.getpid()), limit, *argv)


def limited(argv: tuple[str, ...], *, files: int) -> tuple[str, ...]:
    """Return the command that runs `argv` with a soft limit of so many descriptors (POSIX)."""
    return ("/bin/sh", "-c", 'ulimit -Sn "$0"; exec "$@"', str(files), *argv)


def signal_group(leader: int, signum: signal.Signals) -> None:
    """Signal a process group that may be gone already."""
    # macOS answers EPERM for a group of which only an unreaped leader is left
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signum)


def kill_marked(variable: str, value: str) -> list[int]:
    """Kill all processes that began with `variable=value`; return their pids. Blocks."""
    marker = f"{variable}={value}"
    pids = proctable.find_marked(marker)
    for pid in pids:
        _kill_checked(pid, marker)
    return pids


def sweep(run_dir: Path) -> tuple[Record, ...]:
    """Kill every engine that a dead router left here; forget their records. Blocks.

    A process is killed only when its pid *and* start time are as recorded and its environment,
    if readable, carries the dead router's marker, or when it carries that marker anyway (a
    grandchild, also one that made a group of its own).
    """
    records = [record for path in _record_files(run_dir) if (record := _read_orphan(path))]
    killed = {record.pid for record in records if _kill_leader(record)}
    for run in {record.run for record in records}:
        killed.update(kill_marked(RUN_VARIABLE, run))
    _wait_gone(killed)
    for record in records:
        _forget_orphan(run_dir, record)
    return tuple(records)


def _record_files(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "engines").glob("*.json"))


def _read_orphan(path: Path) -> Record | None:
    """Return the record if its router is dead; drop it if it cannot be read."""
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        log.warning("engine_record_unreadable", path=str(path), error=type(error).__name__)
        path.unlink(missing_ok=True)
        return None
    router_lives = _started(record.router_pid) == record.router_started
    return None if router_lives else record


def _kill_leader(record: Record) -> bool:
    """Kill the recorded process if it is the one that was recorded."""
    marker = f"{RUN_VARIABLE}={record.run}"
    if _started(record.pid) != record.started or not record.started:
        return False
    if proctable.has_marker(record.pid, marker) is False:
        return False
    log.warning("engine_left_over", alias=record.alias, pid=record.pid)
    signal_group(record.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(record.pid, signal.SIGKILL)
    return True


def _forget_orphan(run_dir: Path, record: Record) -> None:
    (run_dir / "engines" / f"{record.pid}.json").unlink(missing_ok=True)
    if record.socket is None:
        return
    with contextlib.suppress(OSError):
        _remove_socket(record.socket)
    if record.socket.parent != run_dir / "sockets":
        with contextlib.suppress(OSError):
            record.socket.parent.rmdir()


def _started(pid: int) -> str:
    row = proctable.read_row(pid)
    return row.started if row else ""


def _kill_checked(pid: int, marker: str) -> None:
    """Kill a marked process; a pid that was reused since it was found is left alone."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if proctable.has_marker(pid, marker):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(handle)


def _wait_gone(pids: Iterable[int]) -> None:
    deadline_s = time.monotonic() + SWEEP_WAIT_S
    waiting = set(pids)
    while waiting and time.monotonic() < deadline_s:
        waiting = {pid for pid in waiting if proctable.read_row(pid) is not None}
        time.sleep(0.01)
    if waiting:
        log.error("engine_left_over_unkillable", pids=sorted(waiting))
