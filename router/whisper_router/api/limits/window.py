"""How many requests there were in the last minute. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SPAN_S = 60.0
GRAIN_S = 0.01
"""Requests within one such step of the clock are one entry, whose time is that of its last one."""


@dataclass(slots=True)
class Entry:
    """So many requests, at a time of the caller's clock."""

    at_s: float
    count: int


class Window:
    """The requests of the last `SPAN_S`, each with its time, so that no minute ever has too many.

    A bucket that fills up again would let twice as many pass in the minute after a rest. An entry
    is forgotten late rather than early: what is counted is never less than what there was.
    """

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._count = 0

    def count(self, now_s: float) -> int:
        """Return how many there were."""
        while self._entries and now_s - self._entries[0].at_s >= SPAN_S:
            self._count -= self._entries.popleft().count
        return self._count

    def add(self, now_s: float) -> None:
        """Count one more."""
        self._count += 1
        last = self._entries[-1] if self._entries else None
        if last is not None and last.at_s // GRAIN_S >= now_s // GRAIN_S:
            last.at_s, last.count = max(last.at_s, now_s), last.count + 1
        else:
            self._entries.append(Entry(now_s, 1))

    def wait_s(self, now_s: float, most: int) -> float:
        """Return after how long there are fewer than `most`; 0: there are."""
        surplus = self.count(now_s) - most + 1
        for entry in self._entries:
            if surplus <= 0:
                break
            surplus -= entry.count
            if surplus <= 0:
                return entry.at_s + SPAN_S - now_s
        return 0.0

    def reset_s(self, now_s: float) -> float:
        """Return after how long there are none, if none is added."""
        return self._entries[-1].at_s + SPAN_S - now_s if self.count(now_s) else 0.0

    def entries(self, now_s: float) -> Sequence[tuple[float, int]]:
        """Return how long ago how many were, the oldest first."""
        self.count(now_s)
        return [(now_s - entry.at_s, entry.count) for entry in self._entries]

    def restore(self, entries: Iterable[tuple[float, int]], now_s: float) -> None:
        """Begin with what was before. A clock that was set back makes nothing younger than now."""
        for age_s, count in sorted(entries, reverse=True):
            self._entries.append(Entry(now_s - max(0.0, age_s), count))
            self._count += count
