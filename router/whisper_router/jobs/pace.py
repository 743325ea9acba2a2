"""How long a running job will take, judged by how fast it was up to now. Pure but for the clock."""

import time
from collections.abc import Callable

from whisper_router.pipeline.progress import Tracker

LEAST_PERCENT = 1.0
"""How much must be done before it says anything."""


class Pace:
    """Of one job. What was known from before its start took no time and does not count."""

    def __init__(self, tracker: Tracker, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tracker, self._clock = tracker, clock
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        """Note that work begins that was not done before; only the first call counts."""
        if self._began is None:
            self._began = self._clock(), self._tracker.report.percent

    @property
    def left_s(self) -> float | None:
        """In how many seconds the job is done; None: nobody knows yet."""
        if self._began is None:
            return None
        began_s, from_percent = self._began
        percent = self._tracker.report.percent
        if (gained := percent - from_percent) < LEAST_PERCENT:
            return None
        return round((self._clock() - began_s) * (100.0 - percent) / gained, 1)
