"""What running processes use, as the system counts it."""

from collections.abc import Iterable
from pathlib import Path

import psutil


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time, in seconds, that these processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def memory_bytes(processes: Iterable[psutil.Process], kind: str = "Pss") -> int:
    """Return the memory of these processes together; one that has ended has none.

    `kind` is a line of Linux's /proc/PID/smaps_rollup: `Pss` counts every resident page, one that
    several processes share only once, `Pss_Anon` those that no file is behind.
    """
    return sum(_rollup(process.pid, kind) for process in processes)


def _rollup(pid: int, kind: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(
        int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith(f"{kind}:")
    )
