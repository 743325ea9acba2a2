"""How often a chunk may be lost before it is given up. Pure: the clock comes in as a number."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Endurance:
    """How many attempts a chunk gets, and how fast they may follow each other.

    `failures` counts those that end through the chunk's own fault: a crash, or a hang.
    `refusals` counts those that a server elsewhere has no time for. `interruptions` counts those
    that somebody else ends; once `limit_s` has gone by since the first
    of them, no more than `late_interruptions` are allowed: whoever ends attempts of many seconds,
    such as a guard of the machine's memory, will not stop. After the first `patient` of these, the
    least time between the beginnings of two attempts doubles from `first_pace_s` up to
    `slowest_pace_s`: an attempt that ends at once must not be made in a hot loop, and one that was
    at work for a while need not wait.
    """

    failures: int = 2
    interruptions: int = 200
    late_interruptions: int = 10
    refusals: int = 10
    limit_s: float = 300.0
    patient: int = 3
    first_pace_s: float = 0.05
    slowest_pace_s: float = 0.25

    def pause_s(self, interruptions: int, lasted_s: float) -> float:
        """Return how long to wait after so many interruptions, the last after `lasted_s`."""
        late = interruptions - self.patient
        if late <= 0:
            return 0.0
        pace_s = min(self.first_pace_s * 2.0 ** min(late - 1, 30), self.slowest_pace_s)
        return max(0.0, pace_s - lasted_s)


ENDURANCE = Endurance()
"""What fails twice in a row would fail a third time. Two hundred interruptions take 50 s if each
comes at once. With one of two workers killed every 300 ms, on a machine that did a lot of other
things, chunks of 30 s have needed fifty attempts."""


class Losses:
    """The lost attempts of one chunk."""

    def __init__(self, endurance: Endurance) -> None:
        self._endurance = endurance
        self.failures = 0
        self.interruptions = 0
        self.refusals = 0
        self._first_s: float | None = None

    def fail(self) -> bool:
        """Count a failure; tell whether another attempt may be made."""
        self.failures += 1
        return self.failures < self._endurance.failures

    def refuse(self) -> bool:
        """Count a refusal; tell whether another attempt may be made."""
        self.refusals += 1
        return self.refusals <= self._endurance.refusals

    def interrupt(self, *, now_s: float) -> bool:
        """Count an interruption; tell whether another attempt may be made."""
        self.interruptions += 1
        self._first_s = now_s if self._first_s is None else self._first_s
        is_late = now_s - self._first_s > self._endurance.limit_s
        limits = self._endurance
        allowed = limits.late_interruptions if is_late else limits.interruptions
        return self.interruptions < allowed

    def pause_s(self, lasted_s: float) -> float:
        """Return how long to wait before the next attempt."""
        return self._endurance.pause_s(self.interruptions, lasted_s)
