"""When a process has served long enough. Pure: counts and figures, no process.

whisper.cpp loses memory with use (its issues #2605, #3358, #3452): a fresh process has it back.
"""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20
WARM_UP_CHUNKS: Final = 4
"""So many chunks per worker show what the engine needs: buffers are made when first used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WearLimits:
    """What one process may serve, and by how much its memory may grow; None: without limit."""

    max_chunks: int | None = None
    max_growth_bytes: int | None = None


class Wear:
    """What a process has served since it was fresh. Written by its slot only."""

    def __init__(self, limits: WearLimits = WearLimits(), *, workers: int = 1) -> None:
        self._limits = limits
        self._warm_up_chunks = WARM_UP_CHUNKS * workers
        self.begin()

    def begin(self) -> None:
        """It is fresh."""
        self.chunks = 0
        self._needed_bytes = self._measured_bytes = 0

    def serve(self) -> None:
        """Count one chunk, however it ended."""
        self.chunks += 1

    def learn(self, measured_bytes: int) -> None:
        """Take note of its memory. During the warm-up whatever it takes is what it needs."""
        self._measured_bytes = measured_bytes
        if self.chunks <= self._warm_up_chunks or not self._needed_bytes:
            self._needed_bytes = max(self._needed_bytes, measured_bytes)

    def verdict(self) -> str | None:
        """Return why it is to be recycled when nobody uses it; None: it is not."""
        return self._reason(1)

    def is_overdue(self) -> bool:
        """Tell whether it is past twice a limit, so that waiting for idleness has been in vain."""
        return self._reason(2) is not None

    def _reason(self, times: int) -> str | None:
        chunks, growth = self._limits.max_chunks, self._limits.max_growth_bytes
        if chunks is not None and self.chunks >= times * chunks:
            return f"it has served {self.chunks} chunks"
        grown = self._measured_bytes - self._needed_bytes
        if growth is not None and grown > times * growth:
            return f"its memory has grown by {grown // MIB} MiB"
        return None
