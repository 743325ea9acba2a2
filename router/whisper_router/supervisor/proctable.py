"""Reads the system's table of processes: /proc on Linux, `ps` elsewhere.

Everything here blocks for some milliseconds: call it in a thread.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
PS_TIMEOUT_S: Final = 5.0
PS_FIELDS: Final = 10  # pid ppid pgid rss time, and the five words of lstart


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One living process. `started` differs for every holder of a reused pid."""

    pid: int
    parent: int
    group: int
    session: int
    cpu_s: float
    rss_bytes: int
    started: str


def read_table() -> Mapping[int, Row]:
    """Return every living process by pid; zombies are not alive."""
    if not has_proc():
        return ps_table()
    boot = _boot_id()
    rows = (_proc_row(pid, boot) for pid in _proc_pids())
    return {row.pid: row for row in rows if row is not None}


def read_row(pid: int) -> Row | None:
    """Return the process with this pid, or None when there is none."""
    return _proc_row(pid, _boot_id()) if has_proc() else ps_table().get(pid)


def family(leader: int, table: Mapping[int, Row]) -> list[Row]:
    """Return the leader's group, session and descendants, as far as they are alive."""
    found = {pid for pid, row in table.items() if leader in (pid, row.group, row.session)}
    grew = True
    while grew:
        children = {pid for pid, row in table.items() if row.parent in found} - found
        found |= children
        grew = bool(children)
    return [table[pid] for pid in sorted(found)]


def memory_bytes(rows: Iterable[Row]) -> int:
    """Return the memory of processes together; on Linux a page that they share counts once.

    That is their proportional set size, proc_pid_smaps(5); elsewhere their resident memory is
    added up.
    """
    return sum(_pss_bytes(row) for row in rows)


def has_proc() -> bool:
    """Tell whether there is a Linux /proc to read."""
    return (PROC / "self" / "stat").exists()


def has_marker(pid: int, marker: str) -> bool | None:
    """Tell whether `NAME=value` was in the environment the process began with; None: unreadable."""
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    return os.fsencode(marker) in environment.split(b"\0")


def find_marked(marker: str) -> list[int]:
    """Return the pids of all readable processes that carry the marker (Linux only)."""
    if not has_proc():
        return []
    return [pid for pid in _proc_pids() if pid != os.getpid() and has_marker(pid, marker)]


def _proc_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208


def _pss_bytes(row: Row) -> int:
    try:
        text = (PROC / str(row.pid) / "smaps_rollup").read_text()
    except OSError:  # another system, or it has just ended
        return row.rss_bytes
    return next(
        (int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss:")),
        row.rss_bytes,
    )


def _boot_id() -> str:
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def _proc_row(pid: int, boot: str) -> Row | None:
    # proc_pid_stat(5) names the fields
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # the name in brackets may hold anything
    if state in {"Z", "X"}:
        return None
    return Row(
        pid=pid,
        parent=int(fields[0]),
        group=int(fields[1]),
        session=int(fields[2]),
        cpu_s=(int(fields[10]) + int(fields[11])) / os.sysconf("SC_CLK_TCK"),
        rss_bytes=int(fields[20]) * os.sysconf("SC_PAGE_SIZE"),
        started=f"{boot} {fields[18]}",
    )


def ps_table() -> dict[int, Row]:
    """Read the table through `ps`, whose columns POSIX and the BSDs share."""
    answer = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,rss=,time=,lstart="],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=PS_TIMEOUT_S,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    rows = [
        fields for line in answer.stdout.splitlines() if len(fields := line.split()) >= PS_FIELDS
    ]
    return {int(fields[0]): _ps_row(fields) for fields in rows}


def _ps_row(fields: list[str]) -> Row:
    return Row(
        pid=int(fields[0]),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[2]),  # macOS prints no session ids
        cpu_s=_clock_s(fields[4]),
        rss_bytes=int(fields[3]) * 1024,
        started=" ".join(fields[5:]),
    )


def _clock_s(text: str) -> float:
    """Return the seconds of `[days-][hours:]minutes:seconds[.fraction]`."""
    days, _, clock = text.rpartition("-")
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return int(days or 0) * 86_400 + seconds
