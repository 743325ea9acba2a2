"""How much a server elsewhere is trusted. Pure: the clock comes in as a number."""

from typing import Final

FAILURES_IN_A_ROW: Final = 3
"""So many broken answers put a server aside although it says that it is there."""
FIRST_PAUSE_S: Final = 1.0
"""After a broken answer others are asked first, twice as long each time."""
FIRST_REST_S: Final = 5.0
LONGEST_REST_S: Final = 300.0
"""How long it is put aside: the first time, and at most, doubling in between."""
DOUBLINGS: Final = 16
FORGIVEN_AFTER_S: Final = 60.0


class Standing:
    """What a server's last answers say about the next one.

    After a broken answer it is held off while others serve. After `FAILURES_IN_A_ROW` of them it
    rests; then it is on trial: one request at a time until it has given a whole answer.
    """

    def __init__(self) -> None:
        self.failures = 0
        """How many answers it broke off in a row."""
        self.is_on_trial = False
        self._rests = 0
        self._held_until_s = self._rests_until_s = self._failed_s = 0.0

    @property
    def is_lost(self) -> bool:
        """Whether it is to be put aside for its broken answers."""
        return self.failures >= (1 if self.is_on_trial else FAILURES_IN_A_ROW)

    def is_held_off(self, *, now_s: float) -> bool:
        """Tell whether others are to be asked first."""
        return now_s < self._held_until_s

    def is_resting(self, *, now_s: float) -> bool:
        """Tell whether it is to be left alone while others serve."""
        return now_s < self._rests_until_s

    def rest_left_s(self, *, now_s: float) -> float:
        """Return how long it still rests."""
        return max(0.0, self._rests_until_s - now_s)

    def succeed(self) -> None:
        """It gave a whole answer: all is forgotten."""
        self.failures = self._rests = 0
        self.is_on_trial = False
        self._held_until_s = 0.0

    def fail(self, *, now_s: float) -> float:
        """It broke off an answer; return for how long others are asked first."""
        pause_s = FIRST_PAUSE_S * 2.0 ** min(self.failures, DOUBLINGS)
        self.failures += 1
        self._failed_s = now_s
        self.hold_off(now_s + pause_s)
        return pause_s

    def forgive(self, *, now_s: float) -> None:
        """It is there, and has been left alone since its last failure."""
        if now_s - self._failed_s >= FORGIVEN_AFTER_S:
            self.failures = 0

    def hold_off(self, until_s: float) -> None:
        """Have others asked first until then."""
        self._held_until_s = max(self._held_until_s, until_s)

    def rest(self, *, now_s: float) -> None:
        """Leave it alone for a while, longer each time; then it is on trial."""
        rest_s = min(FIRST_REST_S * 2.0 ** min(self._rests, DOUBLINGS), LONGEST_REST_S)
        self._rests_until_s = now_s + rest_s
        self._rests += 1
        self.failures = 0
        self.is_on_trial = True
