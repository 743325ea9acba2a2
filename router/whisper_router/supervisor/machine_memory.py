"""How much memory there is for engines on this machine."""

import os
from pathlib import Path
from typing import Final

SHARE: Final = 0.8
"""The rest is for the router, its media workers, and the system's cache of files."""
CGROUP: Final = Path("/sys/fs/cgroup")
LIMITS: Final = ("memory.max", "memory.high")


def usable_bytes(cgroup: Path = CGROUP) -> int | None:
    """Return what engines may take unless told otherwise; None where that cannot be known.

    Blocks: reads files. Of control groups the one that this process sees as its root counts
    (cgroup v2, as in a container), and the ones that systemd has put it in.
    """
    limits = [*_cgroup_limits(cgroup), _physical_bytes()]
    known = [limit for limit in limits if limit is not None]
    return round(SHARE * min(known)) if known else None


def _physical_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _cgroup_limits(root: Path) -> list[int]:
    folders = [root]
    try:
        own = root / Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        folders += [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    except OSError:
        pass
    found = []
    for folder in folders:
        for name in LIMITS:
            try:
                found.append(int((folder / name).read_text()))
            except (OSError, ValueError):  # none, or "max"
                continue
    return found
