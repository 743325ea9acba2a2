"""What a session knows of the utterance that goes on. Pure."""

from dataclasses import dataclass, field

from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import RouterError
from whisper_router.live.agreement import Agreement
from whisper_router.live.events import Ended, Failed, Final
from whisper_router.live.words import LiveWord

CUT_S = 0.5
"""A last word so close to where a long utterance is cut may have been cut in two."""


@dataclass(slots=True, kw_only=True)
class Utterance:
    """One utterance. Positions are samples of the session."""

    number: int
    start: int
    window: int  # where the window begins that hypotheses hear
    asked_to: int  # where the newest hypothesis ends
    answered_to: int  # where the newest one ends that was answered
    paused_at: int | None = None  # where it was known that nobody speaks just now
    has_ended: bool = False  # all of its audio is there, and this was told
    is_last: bool = False  # with the answer that is awaited, the utterance is complete
    is_cut: bool = False  # because it is too long: somebody goes on speaking
    error: RouterError | None = None  # nothing more of it is recognised
    agreement: Agreement = field(default_factory=Agreement)
    words: list[LiveWord] = field(default_factory=list)
    shown: str = ""
    language: str | None = None

    @property
    def is_behind(self) -> bool:
        """Whether some of its audio was not heard yet by any hypothesis, and is to be."""
        return self.error is None and self.answered_to != self.paused_at

    def end(self) -> int:
        """Return where it ends: before a last word that is cut in two, if it is cut."""
        tentative = self.agreement.tentative
        if self.is_cut and tentative and (self.words or len(tentative) > 1):
            last = tentative[-1]
            if to_seconds(self.asked_to) - last.end_s < CUT_S:
                return max(to_samples(last.start_s), self.window)
        return self.asked_to

    def ended(self, end: int) -> Ended:
        """Take note, and tell, that all of its audio is there."""
        self.has_ended = True
        return Ended(utterance=self.number, start_s=to_seconds(self.start), end_s=to_seconds(end))

    def result(self, end: int, *, language: str | None) -> Final | Failed:
        """Tell what was said up to `end`. `language` is the session's, if it is known."""
        start_s, end_s = to_seconds(self.start), to_seconds(end)
        if self.error is not None:
            return Failed(utterance=self.number, start_s=start_s, end_s=end_s, error=self.error)
        return Final(
            utterance=self.number,
            start_s=start_s,
            end_s=end_s,
            words=tuple(self.words),
            language=language or self.language,
        )


def to_samples(seconds: float) -> int:
    """Return the sample nearest to a time."""
    return round(seconds * SAMPLE_RATE_HZ)


def to_seconds(samples: int) -> float:
    """Return the time of a sample, to the millisecond."""
    return round(samples / SAMPLE_RATE_HZ, 3)
