"""How long a start may say nothing. Pure: the clock comes in as a number."""

from dataclasses import dataclass
from typing import Final

MIN_CPU_S: Final = 0.03  # /proc counts in 10 ms ticks
MIN_CPU_SHARE: Final = 0.05
"""Answering our own probes costs a waiting engine less than this part of a core."""
MIN_RSS_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Signs of life of a starting process: all its CPU time, memory and output so far."""

    cpu_s: float = 0.0
    rss_bytes: int = 0
    output_bytes: int = 0


class Patience:
    """Counts silence, not length: loading 3 GB from a slow disk is fine, hanging is not.

    A change of resident memory, output, or a fair share of CPU time is a sign of life. A program
    that spins without end shows that too, hence the second limit on the whole start.
    """

    def __init__(self, *, now_s: float, silence_s: float, limit_s: float) -> None:
        self.silence_s, self._limit_s = silence_s, limit_s
        self._began_s = self._heard_s = now_s
        self._last = Vitals()

    def hear(self, vitals: Vitals, *, now_s: float) -> None:
        """Take a sample of the process's vitals."""
        if self._is_progress(vitals, now_s - self._heard_s):
            self._heard_s, self._last = now_s, vitals

    def verdict(self, *, now_s: float) -> str | None:
        """Say why to give up, or None to go on waiting."""
        if now_s - self._heard_s >= self.silence_s:
            return f"it showed no sign of progress for {self.silence_s:g} s"
        if now_s - self._began_s >= self._limit_s:
            return f"it was not ready after {self._limit_s:g} s"
        return None

    def _is_progress(self, vitals: Vitals, since_s: float) -> bool:
        cpu_s = vitals.cpu_s - self._last.cpu_s
        return (
            vitals.output_bytes > self._last.output_bytes
            or abs(vitals.rss_bytes - self._last.rss_bytes) >= MIN_RSS_BYTES
            or cpu_s >= max(MIN_CPU_S, MIN_CPU_SHARE * since_s)
        )
