"""How many threads are worth starting."""

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def physical_cores() -> int:
    """Return the physical cores that this process may use, within its cgroup v2 quota.

    Hyper-threads of one core share its arithmetic units: threads beyond the cores slow whisper.cpp
    down.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = {_core(cpu) for cpu in os.sched_getaffinity(0)}
    quota = _quota()
    return max(1, len(cores) if quota is None else min(len(cores), quota))


def _core(cpu: int) -> tuple[str, str]:
    """Return (package, core) of a CPU; a CPU without topology counts as a core of its own."""
    folder = TOPOLOGY / f"cpu{cpu}" / "topology"
    try:
        return (folder / "physical_package_id").read_text(), (folder / "core_id").read_text()
    except OSError:
        return "", str(cpu)


def _quota() -> int | None:
    """Return the whole CPUs that the cgroup allows, or None without a limit."""
    try:
        limit, period = CPU_MAX.read_text().split()
        return None if limit == "max" else max(1, int(limit) // int(period))
    except (OSError, ValueError):
        return None
