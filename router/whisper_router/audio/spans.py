"""Probabilities of speech → stretches of speech, as they come: Silero's own rule. Pure."""

import math
from collections import deque
from collections.abc import Iterable

from whisper_router.audio.media import Found, Span, VadOptions
from whisper_router.domain import SAMPLE_RATE_HZ

WINDOW = 512
"""Samples that one probability stands for (Silero VAD 5 at 16 kHz)."""
WINDOW_S = WINDOW / SAMPLE_RATE_HZ
BLOCK = 1024 * WINDOW
"""Samples decoded and listened to at a time: 32.8 s, so that a first chunk is known soon."""
CERTAIN = 0.95
"""A stretch that reaches this probability is speech, whatever is around it."""
AROUND_BEFORE, AROUND_AFTER, MIN_AROUND = 64, 16, 6
"""How many windows around a stretch it is compared with, at most and at least.

These and the default of `min_contrast_db` were found with 500 synthetic sounds and 1,572 stretches
of speech, clean, noisy, faint, over the telephone and with music below: `bench_silence.py` shows
what is left of the sounds; of the speech 5 stretches go, whispered or at -55 dBFS.
"""
MIN_PAUSE_S = 0.09
"""A shorter quiet moment inside speech is a closed mouth (p, t, k), not a pause between words."""


class SpanFinder:
    """Fed with the probability of each window in order, it finds stretches of speech.

    Spans are in order, do not overlap and lie inside the audio. Where two are closer than twice the
    padding, they share the gap. What is found does not depend on how the windows are split over
    calls, only when it is known does.
    """

    def __init__(self, options: VadOptions) -> None:
        self._options = options
        self._level = _Level(min_contrast_db=options.min_contrast_db)
        self._index = 0
        self._first: int | None = None  # window where the present run began
        self._quiet: int | None = None  # window where its present pause began
        self._kept_until_s: float | None = None
        self._held: Span | None = None  # begins padded; how far it ends depends on the next run
        self._spans: list[Span] = []
        self._pauses: list[Span] = []

    def feed(self, probabilities: Iterable[float], powers: Iterable[float]) -> None:
        """Go on by as many windows; `powers` are the mean squares of their samples."""
        options = self._options
        leave = options.threshold - options.hysteresis
        patience = options.min_silence_s / WINDOW_S
        for probability, power in zip(probabilities, powers, strict=True):
            if probability >= options.threshold:
                self._speak()
            elif self._first is not None and probability < leave:
                self._quiet = self._index if self._quiet is None else self._quiet
                if self._index - self._quiet >= patience:
                    self._end_run(self._first, self._quiet)
            self._index += 1
            self._level.add(
                probability, power, is_run=self._first is not None, is_quiet=self._quiet is not None
            )

    def end(self, duration_s: float) -> None:
        """Take note that the audio ends there."""
        if self._first is not None:
            self._end_run(self._first, self._index, latest_s=duration_s)
        self._release(latest_s=duration_s)

    def found(self) -> Found:
        """Return what is new since the last call."""
        going_on = self._going_on()
        edge_s = (self._index if self._first is None else self._first) * WINDOW_S
        if self._held is not None:
            if going_on is not None:
                self._release(latest_s=(self._held.end_s + edge_s) / 2)
            elif edge_s - self._held.end_s >= 2 * self._options.pad_s:
                self._release(latest_s=math.inf)
            else:
                going_on = self._held
        found = Found(
            spans=tuple(self._spans),
            pauses=tuple(self._pauses),
            going_on=going_on,
            quiet_until_s=max(0.0, edge_s - self._options.pad_s),
        )
        self._spans, self._pauses = [], []
        return found

    def _speak(self) -> None:
        if self._first is None:
            self._first = self._index
        elif self._quiet is not None and (self._index - self._quiet) * WINDOW_S >= MIN_PAUSE_S:
            pause = Span(start_s=self._quiet * WINDOW_S, end_s=self._index * WINDOW_S)
            self._pauses.append(pause)
        self._quiet = None

    def _going_on(self) -> Span | None:
        """Return the present run if it is long enough to stay; it ends there or later."""
        if self._first is None:
            return None
        end = self._index if self._quiet is None else self._quiet
        if not self._is_long_enough(end - self._first) or not self._level.is_certain:
            return None
        start_s = self._first * WINDOW_S
        return Span(start_s=self._padded(start_s), end_s=end * WINDOW_S)

    def _is_long_enough(self, windows: int) -> bool:
        return windows >= self._options.min_speech_s / WINDOW_S

    def _end_run(self, first: int, end: int, *, latest_s: float = math.inf) -> None:
        self._first = self._quiet = None
        stands_out = self._level.end_run()
        if not stands_out or not self._is_long_enough(end - first):
            return
        start_s, end_s = first * WINDOW_S, min(end * WINDOW_S, latest_s)
        if self._held is not None:
            self._release(latest_s=(self._held.end_s + start_s) / 2)
        self._held = Span(start_s=self._padded(start_s), end_s=end_s)
        self._kept_until_s = end_s

    def _padded(self, start_s: float) -> float:
        before_s = self._kept_until_s
        earliest_s = 0.0 if before_s is None else (before_s + start_s) / 2
        return max(earliest_s, start_s - self._options.pad_s)

    def _release(self, *, latest_s: float) -> None:
        if (held := self._held) is not None:
            end_s = min(latest_s, held.end_s + self._options.pad_s)
            self._spans.append(Span(start_s=held.start_s, end_s=end_s))
            self._held = None


class _Level:
    """How a run compares with what is around it, in its highest probability and in power.

    Music and machines that the detector takes for speech for a moment are as loud before and after
    it; a word in a pause is not.
    """

    def __init__(self, *, min_contrast_db: float) -> None:
        self._least = 10 ** (min_contrast_db / 10) if min_contrast_db else 0.0
        self._before: deque[float] = deque(maxlen=AROUND_BEFORE)
        self._quiet: list[float] = []  # since the run fell silent
        self._peak = self._power = 0.0
        self._windows = 0

    @property
    def is_certain(self) -> bool:
        """Whether the run is speech however loud it is."""
        return self._least == 0.0 or self._peak >= CERTAIN

    def add(self, probability: float, power: float, *, is_run: bool, is_quiet: bool) -> None:
        """Take a window of the run, of a pause in it, or from between two runs."""
        if not is_run:
            self._before.append(power)
        elif is_quiet:
            self._quiet.append(power)
        else:
            self._peak = max(self._peak, probability)
            self._power += sum(self._quiet) + power
            self._windows += len(self._quiet) + 1
            self._quiet = []

    def end_run(self) -> bool:
        """Return whether the run that ends now stands out; what follows is between two runs."""
        around = [*self._before, *self._quiet[:AROUND_AFTER]]
        stands_out = (
            self.is_certain
            or len(around) < MIN_AROUND
            or self._power / self._windows >= self._least * (sum(around) / len(around))
        )
        self._before.clear()
        self._before.extend(self._quiet)
        self._quiet = []
        self._peak = self._power = 0.0
        self._windows = 0
        return stands_out
