"""When a process that does not start may be tried again."""

import enum
import math
import time
from collections.abc import Iterable, Sequence
from typing import Final

from whisper_router.errors import EngineHeldOff

FREE_FAILURES: Final = 2
"""So many in a row cost no pause: somebody may be mending the configuration."""
FIRST_PAUSE_S: Final = 1.0
DOUBLINGS: Final = 16
"""Enough for any pause; more would overflow in the end."""


class BreakerState(enum.StrEnum):
    """Whether a start is attempted when somebody asks."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    """The pause is over: who asks next makes one attempt, and everybody sees how it ends."""


class Breaker:
    """Counts failed starts in a row; after some of them there are pauses, each twice as long.

    Pure: the caller tells the time.

    Crashes of a process that had started do not count: the audio may be the reason, and one
    client's audio must not close the door to the others.
    """

    def __init__(self, *, longest_pause_s: float) -> None:
        self.failures = 0
        self._longest_pause_s = longest_pause_s
        self._until_s = 0.0

    def state(self, *, now_s: float) -> BreakerState:
        """Return what it is at this moment."""
        if self.failures <= FREE_FAILURES:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now_s < self._until_s else BreakerState.HALF_OPEN

    def left_s(self, *, now_s: float) -> float:
        """Return how long the pause still lasts; 0 when there is none."""
        return max(0.0, self._until_s - now_s)

    def fail(self, *, now_s: float) -> None:
        """Count a failed start."""
        self.failures += 1
        if self.failures > FREE_FAILURES:
            doublings = min(self.failures - FREE_FAILURES - 1, DOUBLINGS)
            self._until_s = now_s + min(FIRST_PAUSE_S * 2.0**doublings, self._longest_pause_s)

    def succeed(self) -> None:
        """Forget all failures: it has started."""
        self.failures, self._until_s = 0, 0.0


def most_willing(breakers: Iterable[Breaker]) -> BreakerState:
    """Return the state of the breaker that stands least in the way now."""
    now_s = time.monotonic()
    states = {breaker.state(now_s=now_s) for breaker in breakers}
    order = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)
    return next((state for state in order if state in states), BreakerState.CLOSED)


def held_off(breakers: Sequence[Breaker], reason: str) -> EngineHeldOff:
    """Return the refusal of who asks while all breakers are open; `reason` is the last failure."""
    now_s = time.monotonic()
    left_s = min(breaker.left_s(now_s=now_s) for breaker in breakers)
    failures = max(breaker.failures for breaker in breakers)
    return EngineHeldOff(
        f"{reason.rstrip('.')}. That happened {failures} times in a row; the next attempt may be "
        f"made in {left_s:.0f} s.",
        retry_after_s=max(1, math.ceil(left_s)),
    )
