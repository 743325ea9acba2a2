"""Probabilities of speech → where somebody begins, pauses, goes on and has ended. Pure."""

import math
from dataclasses import dataclass
from enum import Enum, auto

from whisper_router.domain import SAMPLE_RATE_HZ

WINDOW = 512
"""Samples that one probability stands for (Silero VAD 5 at 16 kHz)."""

LEAST = 0.01
"""A probability below this is silence, whatever the options are: else a turn could have no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnOptions:
    """When an utterance begins and ends.

    Speech begins where the probability reaches `threshold` in windows of at least `min_speech_s`,
    and `prefix_s` before that still belong to it. It ends where the probability stays below
    `threshold - hysteresis` for `silence_s`; after `settle_s` of that it is taken for a pause.
    After `early_s`, if that is given, it ends where what was said sounds complete.
    """

    threshold: float = 0.5
    hysteresis: float = 0.15
    min_speech_s: float = 0.1
    prefix_s: float = 0.3
    settle_s: float = 0.3
    silence_s: float = 0.5
    early_s: float | None = None


class Kind(Enum):
    """What happens in a turn; CUT and CLEARED come from outside, in a turn or not."""

    BEGAN = auto()
    PAUSED = auto()
    LINGERED = auto()
    RESUMED = auto()
    ENDED = auto()
    CUT = auto()
    CLEARED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened at sample `at`, and is known once `known_at` samples were heard."""

    kind: Kind
    at: int
    known_at: int


@dataclass(slots=True)
class _Run:
    """Windows with speech, one after the other."""

    begin: int = 0
    count: int = 0

    def add(self, begin: int, least: int) -> bool:
        """Count a window; return whether there are enough of them for a word."""
        if not self.count:
            self.begin = begin
        self.count += 1
        return self.count >= least


class TurnFinder:
    """Fed with one probability for each `WINDOW` samples in order; its marks take turns.

    BEGAN, then any number of PAUSED and RESUMED one after another, then ENDED. A pause of `early_s`
    is LINGERED besides.
    """

    def __init__(self, options: TurnOptions) -> None:
        self.tune(options)
        self.position = 0
        """Samples heard so far."""
        self.silent_from: int | None = 0
        """Where the last turn ended; None during a turn."""
        self._first: int | None = None  # where the present run of speech began
        self._voiced = 0  # its windows with speech
        self._is_turn = False
        self._quiet: int | None = None  # where its present silence began
        self._is_paused = self._has_lingered = False
        self._again = _Run()  # speech after a pause that has lingered

    def tune(self, options: TurnOptions) -> None:
        """Judge what comes from now on by these options."""
        self._threshold = max(options.threshold, 2 * LEAST)
        self._leave = max(self._threshold - options.hysteresis, LEAST)
        self._least = max(1, round(options.min_speech_s * SAMPLE_RATE_HZ / WINDOW))
        self._prefix = round(options.prefix_s * SAMPLE_RATE_HZ)
        self._silence = round(options.silence_s * SAMPLE_RATE_HZ)
        self._settle = min(round(options.settle_s * SAMPLE_RATE_HZ), self._silence)
        early_s = math.inf if options.early_s is None else options.early_s
        self._early = early_s * SAMPLE_RATE_HZ

    @property
    def is_turn(self) -> bool:
        """Whether somebody speaks, or has not been silent for long enough."""
        return self._is_turn

    @property
    def needed_from(self) -> int:
        """The earliest sample that a mark may name which has not come yet, but for its end."""
        begin = self.position if self._first is None or self._is_turn else self._first
        if self._again.count:
            begin = self._again.begin
        return max(0, begin - self._prefix)

    def feed(self, probability: float, length: int = WINDOW) -> Mark | None:
        """Go on by one window, or by `length` samples: the last one before a cut may be shorter."""
        begin = self.position
        self.position += length
        if probability >= self._threshold:
            return self._speak(begin)
        if self._first is not None and (probability < self._leave or not self._is_turn):
            return self._fall_silent(begin)
        return None

    def cut(self) -> Mark:
        """End the turn here, if there is one; what comes belongs to another one."""
        return self._break(Kind.CUT)

    def clear(self) -> Mark:
        """Forget the turn, if there is one."""
        return self._break(Kind.CLEARED)

    def _speak(self, begin: int) -> Mark | None:
        if self._first is None:
            self._first, self._voiced = begin, 0
        if self._has_lingered and not self._again.add(begin, self._least):
            return None  # a noise: the turn may be over by now, and it is no word
        begin = self._again.begin if self._has_lingered else begin
        self._voiced += 1
        self._quiet, self._has_lingered, self._again = None, False, _Run()
        if not self._is_turn and self._voiced >= self._least:
            self._is_turn, self.silent_from = True, None
            return self._mark(Kind.BEGAN, max(0, self._first - self._prefix))
        if self._is_paused:
            self._is_paused = False
            return self._mark(Kind.RESUMED, max(0, begin - self._prefix))
        return None

    def _fall_silent(self, begin: int) -> Mark | None:
        self._quiet = begin if self._quiet is None else self._quiet
        silent = self.position - self._quiet
        self._again = _Run()
        if not self._is_turn:
            if silent >= self._settle:  # a noise, too short for a word
                self._first = self._quiet = None
            return None
        if silent >= self._silence and self._is_paused:
            at = self._quiet
            self._leave_turn(at)
            return self._mark(Kind.ENDED, at)
        if silent >= self._settle and not self._is_paused:
            self._is_paused = True
            return self._mark(Kind.PAUSED, self._quiet)
        if silent >= self._early and not self._has_lingered:
            self._has_lingered = True
            return self._mark(Kind.LINGERED, self._quiet)
        return None

    def _break(self, kind: Kind) -> Mark:
        if self._is_turn:
            self._leave_turn(self.position if self._quiet is None else self._quiet)
        self._first = self._quiet = None
        return self._mark(kind, self.position)

    def _leave_turn(self, at: int) -> None:
        self._first = self._quiet = None
        self._is_turn = self._is_paused = self._has_lingered = False
        self._again, self.silent_from = _Run(), at

    def _mark(self, kind: Kind, at: int) -> Mark:
        return Mark(kind=kind, at=at, known_at=self.position)
