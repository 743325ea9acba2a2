"""One live session without any I/O: audio and answers go in, events and requests come out.

The caller judges each window with the voice detector, runs one `Hypothesis` at a time on an engine
and tells its answer. Time is counted in samples; the only clock is how long an answer took. What is
asked next follows from audio and answers alone, never from when they came, so every chunking of the
same audio gives the same words.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from whisper_router.domain import Segment
from whisper_router.errors import RouterError
from whisper_router.live.events import (
    Cleared,
    Confirmed,
    Lag,
    LiveEvent,
    Reached,
    SpeechStarted,
    SpeechStopped,
    Tentative,
)
from whisper_router.live.ring import Floats, SampleRing
from whisper_router.live.turns import WINDOW, Kind, Mark, TurnFinder, TurnOptions
from whisper_router.live.utterance import Utterance, to_samples, to_seconds
from whisper_router.live.words import LiveWord, sounds_complete, text_of, words_in

HEADROOM = 1.5
"""Step ÷ time of an answer: a slow engine keeps a third of its time for others."""
LATE_S = 1.0
"""So much later than the step explains a hypothesis must be to be called late."""
MAX_PROMPT_CHARACTERS = 200
"""Confirmed text that goes along as a prompt (as `whisper_streaming`, see `agreement`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOptions:
    """How a session listens.

    A hypothesis is asked for each `step_s` of speech and at each pause. From `trim_s` on the window
    that it hears is cut at the end of a confirmed segment, at `max_window_s` in any case (Whisper
    hears 30 s). `max_backlog_s` of audio may wait besides. An utterance is ended at
    `max_utterance_s`, and the next one begins there.
    """

    turns: TurnOptions = field(default_factory=TurnOptions)
    step_s: float = 0.5
    trim_s: float = 15.0
    max_window_s: float = 28.0
    max_backlog_s: float = 30.0
    max_utterance_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """Samples `[start, end)` of the session, to be recognised now. `language` None: detect it."""

    start: int
    end: int
    prompt: str
    language: str | None


class LiveSession:
    """Hears audio, says what to recognise, and tells what was said.

    At most one hypothesis runs at a time. A slow engine makes the step grow, so that there are
    fewer of them; each begins where the confirmed words end, so no audio is ever left out.
    """

    def __init__(
        self, options: LiveOptions, *, language: str | None = None, prompt: str = ""
    ) -> None:
        """`language` None: it is detected, and kept from the first confirmed word on."""
        self.language, self._is_named = language, language is not None
        self._options, self._prompt = options, prompt
        self._turns = TurnFinder(options.turns)
        capacity_s = options.max_window_s + options.turns.prefix_s + options.max_backlog_s
        self._ring = SampleRing(to_samples(capacity_s) // WINDOW * WINDOW)
        self._marks: deque[Mark] = deque()
        self._events: list[LiveEvent] = []
        self._utterance: Utterance | None = None
        self._count = 0
        self._due: Hypothesis | None = None
        self._running: Hypothesis | None = None
        self._step = self._least_step = to_samples(options.step_s)
        self._ended_at = 0
        self._said = ""
        self._told_lag_s = 0.0

    @property
    def room(self) -> int:
        """How many samples, in whole windows, can be heard now; it grows with answers."""
        return self._ring.room // WINDOW * WINDOW

    @property
    def is_idle(self) -> bool:
        """Whether all speech that was heard is final."""
        return self._utterance is None and not self._marks

    @property
    def duration_s(self) -> float:
        """How much audio was heard."""
        return to_seconds(self._turns.position)

    @property
    def silence_s(self) -> float:
        """For how long nobody has spoken, be what was said final or not."""
        begin = self._turns.silent_from
        return 0.0 if begin is None else to_seconds(self._turns.position - begin)

    @property
    def is_speaking(self) -> bool:
        """Whether there is an utterance where the audio ends now, or one is about to be found."""
        return self._turns.is_turn and (self._utterance is not None or bool(self._marks))

    def hear(self, samples: Floats, probabilities: Sequence[float]) -> None:
        """Take the next windows, `room` samples at most, with the probability of speech in each.

        The last window before `cut` or `clear` may be shorter than the others.
        """
        self._ring.append(samples)
        left = len(samples)
        for probability in probabilities:
            if (mark := self._turns.feed(probability, min(WINDOW, left))) is not None:
                self._marks.append(mark)
            left -= WINDOW
        self._advance()

    def cut(self) -> None:
        """End the utterance that goes on, if there is one. More may be heard after it.

        `Reached` is told once all is final that was said before.
        """
        self._marks.append(self._turns.cut())
        self._advance()

    def clear(self) -> None:
        """Forget the utterance that goes on, if there is one; then `Cleared` is told."""
        self._marks.append(self._turns.clear())
        self._advance()

    def tune(self, turns: TurnOptions) -> None:
        """Judge by these options when somebody speaks, in the audio that comes from now on."""
        self._turns.tune(turns)

    def expect(self, *, language: str | None, prompt: str) -> None:
        """Recognise from now on with these; `language` None: detect it.

        A language that was found stays unless another one was named before.
        """
        if language is not None or self._is_named:
            self.language, self._is_named = language, language is not None
        self._prompt = prompt

    def take_request(self) -> Hypothesis | None:
        """Return what to recognise now. It is returned once and wants an answer."""
        if self._due is None:
            return None
        self._running, self._due = self._due, None
        return self._running

    def samples(self, request: Hypothesis) -> Floats:
        """Return the audio of the hypothesis that runs."""
        return self._ring.read(request.start, request.end)

    def answer(self, segments: Iterable[Segment], *, language: str | None, took_s: float) -> None:
        """Take what was recognised, timed from the beginning of the request's audio.

        `took_s` is how long that took, waiting for a worker included.
        """
        request, utterance = self._answered()
        hypothesis = words_in(segments, offset_s=to_seconds(request.start))
        self._confirm(utterance, utterance.agreement.hear(hypothesis), language)
        utterance.language, utterance.answered_to = language, request.end
        self._step = max(self._least_step, to_samples(HEADROOM * took_s))
        if utterance.is_last:
            self._finish(utterance, utterance.end())
        else:
            self._trim(utterance, request, hypothesis)
            self._show(utterance)
        self._advance()

    def refuse(self, error: RouterError) -> None:
        """Take note that there is no answer: the utterance fails, and is told of when it ends."""
        request, utterance = self._answered()
        utterance.error, utterance.answered_to = error, request.end
        if utterance.is_last:
            self._finish(utterance, utterance.asked_to)
        self._advance()

    def _answered(self) -> tuple[Hypothesis, Utterance]:
        request, utterance = self._running, self._utterance
        if request is None or utterance is None:
            raise RuntimeError("nothing was asked")
        self._running = None
        return request, utterance

    def take_events(self) -> Sequence[LiveEvent]:
        """Return what has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _advance(self) -> None:
        while self._due is None and self._running is None and self._go_on():
            pass
        utterance = self._utterance
        needed = self._marks[0].at if self._marks else self._turns.needed_from
        if utterance is not None and utterance.error is None:
            needed = min(needed, utterance.window)
        self._ring.drop(needed)
        self._tell_lag()

    def _go_on(self) -> bool:
        """Do the next thing in the order of the audio; False when it is not there yet."""
        mark, utterance = self._marks[0] if self._marks else None, self._utterance
        if utterance is None:
            if mark is not None:
                self._pass_between(self._marks.popleft())
            return mark is not None
        limit = utterance.start + to_samples(self._options.max_utterance_s)
        due = limit
        if utterance.error is None:
            due = min(limit, utterance.window + to_samples(self._options.max_window_s))
            if utterance.paused_at is None:
                due = min(due, utterance.asked_to + self._step)
        if mark is not None and mark.known_at <= due:
            self._pass(utterance, mark)
            return True
        if due > self._turns.position:
            return False
        utterance.is_last = due == limit
        utterance.is_cut = utterance.is_last and utterance.paused_at is None
        if utterance.error is None:
            self._ask(utterance, due)
        else:
            self._finish(utterance, due)
        return True

    def _pass_between(self, mark: Mark) -> None:
        """Go by a mark while there is no utterance."""
        if mark.kind in {Kind.BEGAN, Kind.RESUMED}:
            self._begin(mark.at)
        elif mark.kind in {Kind.CUT, Kind.CLEARED}:
            self._ended_at, at_s = mark.at, to_seconds(mark.at)
            is_cut = mark.kind is Kind.CUT
            self._events.append(Reached(at_s=at_s) if is_cut else Cleared(at_s=at_s))

    def _pass(self, utterance: Utterance, mark: Mark) -> None:
        """Go by the next mark. What ends the utterance from outside stays until that is done."""
        if mark.kind is Kind.CUT:
            self._close(utterance, mark.known_at)
            return
        if mark.kind is Kind.CLEARED:
            self._utterance = None
            return
        self._marks.popleft()
        if mark.kind is Kind.RESUMED:
            utterance.paused_at = None
        elif mark.kind is Kind.PAUSED:
            utterance.paused_at = mark.known_at
            is_slow = self._step > self._least_step
            if utterance.error is None and (
                not is_slow or mark.known_at - utterance.asked_to >= self._step
            ):
                self._ask(utterance, mark.known_at)
        elif mark.kind is Kind.ENDED or (
            mark.kind is Kind.LINGERED
            and sounds_complete(text_of((*utterance.words, *utterance.agreement.tentative)))
        ):
            self._events.append(
                SpeechStopped(
                    utterance=utterance.number,
                    at_s=to_seconds(mark.at),
                    known_at_s=to_seconds(mark.known_at),
                )
            )
            self._close(utterance, mark.known_at)

    def _close(self, utterance: Utterance, end: int) -> None:
        """Take no more audio into the utterance, and finish it once all of it was heard."""
        if utterance.paused_at is not None:
            end = utterance.paused_at
        end = max(end, utterance.asked_to)
        self._events.append(utterance.ended(end))
        if utterance.error is not None or utterance.asked_to == end:
            self._finish(utterance, end)  # the pause was heard, and nothing came after it
        else:
            utterance.is_last = True
            self._ask(utterance, end)

    def _begin(self, at: int) -> None:
        self._count += 1
        start = max(at, self._ended_at, self._ring.begin)  # padding may have become longer
        self._utterance = Utterance(
            number=self._count, start=start, window=start, asked_to=start, answered_to=start
        )
        self._events.append(SpeechStarted(utterance=self._count, at_s=to_seconds(start)))

    def _ask(self, utterance: Utterance, end: int) -> None:
        utterance.asked_to = end
        self._due = Hypothesis(
            start=utterance.window,
            end=end,
            prompt=f"{self._prompt} {self._said}".strip(),
            language=self.language,
        )

    def _confirm(self, utterance: Utterance, new: Sequence[LiveWord], language: str | None) -> None:
        if not new:
            return
        utterance.words += new
        utterance.shown = ""
        self._events.append(Confirmed(utterance=utterance.number, words=tuple(new)))
        if self.language is None and language == utterance.language:
            self.language = language

    def _show(self, utterance: Utterance) -> None:
        text = text_of(utterance.agreement.tentative)
        if text != utterance.shown:
            utterance.shown = text
            self._events.append(Tentative(utterance=utterance.number, text=text))

    def _trim(
        self, utterance: Utterance, request: Hypothesis, hypothesis: Sequence[LiveWord]
    ) -> None:
        """Let the window begin later once it is long: hypotheses cost time, and have a limit."""
        agreement, options = utterance.agreement, self._options
        length = request.end - utterance.window
        is_full = length >= to_samples(options.max_window_s)
        if not is_full and (length < to_samples(options.trim_s) or agreement.cut_s is None):
            return
        cut_s = agreement.cut_s
        if cut_s is None:
            self._confirm(utterance, agreement.force(hypothesis), utterance.language)
            cut_s = agreement.last.end_s if agreement.last else 0.0
        if is_full and to_samples(cut_s) <= utterance.window:
            self._confirm(utterance, agreement.finish(), utterance.language)
            cut_s = to_seconds(request.end)
        utterance.window = min(max(to_samples(cut_s), utterance.window), request.end)
        self._remember(agreement.trim(cut_s))

    def _remember(self, words: Sequence[LiveWord]) -> None:
        """Make confirmed words that no hypothesis hears again part of the prompt."""
        said = (self._said + "".join(word.text for word in words)).strip()
        if len(said) > MAX_PROMPT_CHARACTERS:
            said = said[-MAX_PROMPT_CHARACTERS:].partition(" ")[2]
        self._said = said

    def _finish(self, utterance: Utterance, end: int) -> None:
        """Tell what the utterance is, up to `end`, which may lie before what was heard of it."""
        if not utterance.has_ended:
            self._events.append(utterance.ended(end))
        if utterance.error is None:
            before_s = to_seconds(end) if end < utterance.asked_to else math.inf
            rest = utterance.agreement.finish(before_s=before_s)
            self._confirm(utterance, rest, utterance.language)
            if utterance.words and self.language is None:
                self.language = utterance.language
        self._remember(utterance.agreement.trim(math.inf))
        self._events.append(utterance.result(end, language=self.language))
        self._utterance, self._ended_at = None, end
        if utterance.is_cut:
            self._begin(end)

    @property
    def lag_s(self) -> float:
        """For how much of the audio there is no hypothesis yet, while somebody speaks."""
        utterance = self._utterance
        if utterance is None or not utterance.is_behind:
            return 0.0
        return to_seconds(self._turns.position - utterance.answered_to)

    def _tell_lag(self) -> None:
        """Tell how late the hypotheses are once that is a second more than it has to be."""
        lag_s = self.lag_s
        if lag_s < to_seconds(self._step) + LATE_S:
            lag_s = 0.0
        if int(lag_s) != int(self._told_lag_s):
            self._told_lag_s = lag_s
            self._events.append(Lag(lag_s=lag_s, step_s=to_seconds(self._step)))
