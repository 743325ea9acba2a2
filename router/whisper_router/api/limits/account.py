"""What one key has used, and whether it may have more. Pure: clocks are handed in."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from whisper_router.api.keys import KeyLimits
from whisper_router.api.limits.window import Window
from whisper_router.errors import LimitReached

DAY_S = 86_400.0
KEPT_DAYS = 5
"""Days in memory: a clock that jumps, and comes back, finds what was used."""
LEAST_S = 1e-6
"""Less audio than this is none: sums of fractions are not exact."""
AUDIO, REQUESTS, CONCURRENT = "audio_minutes_per_day", "requests_per_minute", "concurrent_requests"


@dataclass(slots=True)
class Figures:
    """What was counted."""

    requests: int = 0
    errors: int = 0
    audio_s: float = 0.0

    def add(self, others: "Figures") -> None:
        """Count what others have counted, too."""
        self.requests += others.requests
        self.errors += others.errors
        self.audio_s += others.audio_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """The time since some moment, and Unix time; both in seconds."""

    monotonic: Callable[[], float]
    unix: Callable[[], float]

    def today(self) -> str:
        """Return the day of UTC, as `2026-11-22`."""
        return datetime.fromtimestamp(self.unix(), UTC).date().isoformat()

    def left_of_day_s(self) -> float:
        """Return how long this day still is."""
        return DAY_S - self.unix() % DAY_S


@dataclass(slots=True, kw_only=True)
class Account:
    """The figures of one key. `held_s` is audio by day that running requests may turn out to use.

    `since_s` is when counting began, in Unix time. `days` and `total` are what is kept over
    restarts, and `window` as far as a minute goes. `known` are the days whose figures have in them
    what was kept of the day before.
    """

    name: str
    clocks: Clocks
    since_s: float
    window: Window = field(default_factory=Window)
    running: int = 0
    days: dict[str, Figures] = field(default_factory=dict)
    total: Figures = field(default_factory=Figures)
    held_s: dict[str, float] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)

    def today(self) -> Figures:
        """Return the figures of this day."""
        return self.day(self.clocks.today())

    def day(self, name: str) -> Figures:
        """Return the figures of a day."""
        if name not in self.days:
            self.days[name] = Figures()
            for old in list(self.days)[:-KEPT_DAYS]:  # in the order in which they came to be
                del self.days[old]
                self.known.discard(old)
        return self.days[name]

    def admit(self, limits: KeyLimits) -> None:
        """Count a request that begins now; `end` is to be called when it has ended.

        Raises:
            LimitReached: it may not begin now. It counts as one that failed.
        """
        figures = self.today()
        for counted in (figures, self.total):
            counted.requests += 1
        try:
            self._check(limits)
        except LimitReached:
            self.fail()
            raise
        self.window.add(self.clocks.monotonic())
        self.running += 1

    def end(self) -> None:
        """Count a request that was admitted as ended."""
        self.running -= 1

    def fail(self) -> None:
        """Count a request as answered with an error."""
        for counted in (self.today(), self.total):
            counted.errors += 1

    def audio_left_s(self, limits: KeyLimits, day: str | None = None) -> float:
        """Return how much audio the key may still have that day; infinity: no limit."""
        most_s = limits.audio_seconds_per_day
        if most_s is None:
            return math.inf
        day = day or self.clocks.today()
        return most_s - self.day(day).audio_s - self.held_s.get(day, 0.0)

    def charge(self, seconds: float, limits: KeyLimits) -> None:
        """Count audio that is heard now. Raises LimitReached: it is more than may be."""
        if seconds > self.audio_left_s(limits) + LEAST_S:
            raise self.no_audio_left(limits)
        self.count_audio(self.clocks.today(), seconds)

    def count_audio(self, day: str, seconds: float) -> None:
        """Count audio of a day."""
        for counted in (self.day(day), self.total):
            counted.audio_s += seconds

    def hold(self, limits: KeyLimits) -> "Hold":
        """Begin to hold audio for a request, of the budget of this day."""
        return Hold(self, limits)

    def _check(self, limits: KeyLimits) -> None:
        if limits.concurrent_requests is not None and self.running >= limits.concurrent_requests:
            raise self._reached(
                CONCURRENT, limits.concurrent_requests, "requests", 1.0, "requests at a time"
            )
        most = limits.requests_per_minute
        if most is not None and (wait_s := self.window.wait_s(self.clocks.monotonic(), most)) > 0:
            raise self._reached(REQUESTS, most, "requests", wait_s, "requests in a minute")
        if self.audio_left_s(limits) <= LEAST_S:
            raise self.no_audio_left(limits)

    def no_audio_left(self, limits: KeyLimits) -> LimitReached:
        """Return the refusal of audio that the key may not have."""
        return self._reached(
            AUDIO,
            limits.audio_minutes_per_day or 0.0,
            "audio_seconds",
            self.clocks.left_of_day_s(),
            f"minutes of audio in a day of UTC, {self._left(limits)} left",
        )

    def _left(self, limits: KeyLimits) -> str:
        left_s = self.audio_left_s(limits)
        return "nothing of it is" if left_s <= LEAST_S else f"{left_s:.1f} s of it are"

    def _reached(
        self, limit: str, most: float, kind: str, wait_s: float, words: str
    ) -> LimitReached:
        wait = max(1, math.ceil(wait_s))
        return LimitReached(
            f"Rate limit reached for the key '{self.name}': {most:g} {words} ({limit}). "
            f"Try again in {wait} s.",
            limit=limit,
            kind=kind,
            retry_after_s=wait,
        )


class Hold:
    """Audio that a request may turn out to use, and nobody else may have meanwhile.

    It is of the budget of the day on which it began.
    """

    def __init__(self, account: Account, limits: KeyLimits) -> None:
        self._account, self._limits = account, limits
        self._day = account.clocks.today()
        self.seconds = 0.0

    def extend(self, seconds: float) -> None:
        """Hold at least so much altogether. Raises LimitReached: the key may not have that much."""
        more_s = seconds - self.seconds
        if more_s <= 0:
            return
        if more_s > self._account.audio_left_s(self._limits, self._day) + LEAST_S:
            raise self._account.no_audio_left(self._limits)
        self._keep(seconds)

    def settle(self, seconds: float) -> None:
        """Count what was used, and give back the rest. Nothing is held any more."""
        self._keep(0.0)
        if seconds > 0:
            self._account.count_audio(self._day, seconds)

    def _keep(self, seconds: float) -> None:
        held = self._account.held_s
        left_s = held.pop(self._day, 0.0) + seconds - self.seconds
        if left_s > LEAST_S:
            held[self._day] = left_s
        self.seconds = seconds
