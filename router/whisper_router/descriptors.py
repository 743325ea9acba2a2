"""How many files and sockets the router may have open: getrlimit(2), RLIMIT_NOFILE.

Every client, upload and engine takes some. The usual soft limit, 1024, is that low for programs
which use select(2) or close every possible descriptor; the router does neither, engines may.
"""

import contextlib
import resource
from dataclasses import dataclass
from typing import Final

ENOUGH: Final = 4096
MOST: Final = 1 << 20
"""Linux's own maximum (fs.nr_open); nothing needs more."""
MACOS_MOST: Final = 10_240
"""OPEN_MAX: a hard limit may say "infinity" there, and setrlimit(2) refuses all above this."""
RESERVE: Final = 64
"""For the listening socket, the event loop, engines and media workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """The soft limit, which counts, and the hard one, up to which it may be raised."""

    soft: int
    hard: int

    @property
    def is_low(self) -> bool:
        """Whether a few thousand clients would be too many."""
        return self.soft < ENOUGH

    @property
    def connections(self) -> int:
        """How many clients may be connected: each may have an upload open besides."""
        return max(1, (self.soft - RESERVE) // 2)


def file_limits() -> FileLimits:
    """Return the limits in effect."""
    soft, hard = (
        MOST if value == resource.RLIM_INFINITY else value
        for value in resource.getrlimit(resource.RLIMIT_NOFILE)
    )
    return FileLimits(soft=soft, hard=hard)


def raise_file_limit() -> FileLimits:
    """Raise the soft limit as far as it goes, and return the limits in effect then."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    before = file_limits()
    for wanted in (min(before.hard, MOST), MACOS_MOST):
        if wanted > before.soft:
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
                break
    return file_limits()
