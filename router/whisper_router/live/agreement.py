"""LocalAgreement-2: what two hypotheses in a row agree on is said for good. Pure.

Dominik Macháček, Raj Dabre, Ondřej Bojar: "Turning Whisper into Real-Time Transcription System",
IJCNLP-AACL 2023, system demonstrations (`whisper_streaming`): growing audio is recognised again and
again; the longest common prefix of two consecutive hypotheses is confirmed.
"""

import math
from collections.abc import Sequence

from whisper_router.live.words import LiveWord

MAX_REPEATED = 5
"""Words that a hypothesis may repeat of what is confirmed (`HypothesisBuffer.insert` there)."""
NEAR_S = 1.0
"""How soon after the confirmed words a repetition of them must begin to be one (as there)."""


class Agreement:
    """The words of one window of audio, which grows at its end and is trimmed at its beginning.

    A confirmed word never changes. Words are compared without case and without punctuation around
    them; of two that agree the later hypothesis counts, as it has heard more.
    """

    def __init__(self) -> None:
        self.tentative: Sequence[LiveWord] = ()
        """What the newest hypothesis holds beyond the confirmed words."""
        self.cut_s: float | None = None
        """Where the newest hypothesis ends its last segment of confirmed words; None: nowhere."""
        self._confirmed: list[LiveWord] = []  # those that the window still holds

    def hear(self, hypothesis: Sequence[LiveWord]) -> Sequence[LiveWord]:
        """Compare with the hypothesis before; return the words that are confirmed by that."""
        beyond = hypothesis[self._known(hypothesis) :]
        count = _common(beyond, self.tentative)
        return self._confirm(hypothesis, beyond, count)

    def force(self, hypothesis: Sequence[LiveWord]) -> Sequence[LiveWord]:
        """Confirm all of the newest hypothesis but its last word, which may have been cut."""
        beyond = hypothesis[self._known(hypothesis) :]
        return self._confirm(hypothesis, beyond, max(0, len(beyond) - 1))

    def finish(self, *, before_s: float = math.inf) -> Sequence[LiveWord]:
        """Confirm and return what is tentative and begins before `before_s`; forget the rest."""
        rest = tuple(word for word in self.tentative if word.start_s < before_s)
        self.tentative = ()
        self._confirmed += rest
        return rest

    def trim(self, at_s: float) -> Sequence[LiveWord]:
        """Let the window begin at `at_s`; return the confirmed words that it no longer holds."""
        count = sum(_middle_s(word) < at_s for word in self._confirmed)
        left, self._confirmed = self._confirmed[:count], self._confirmed[count:]
        self.cut_s = None
        return left

    @property
    def last(self) -> LiveWord | None:
        """The last confirmed word of the window."""
        return self._confirmed[-1] if self._confirmed else None

    def _confirm(
        self, hypothesis: Sequence[LiveWord], beyond: Sequence[LiveWord], count: int
    ) -> Sequence[LiveWord]:
        new, self.tentative = tuple(beyond[:count]), tuple(beyond[count:])
        self._confirmed += new
        agreed = hypothesis[: len(hypothesis) - len(self.tentative)]
        self.cut_s = max((word.end_s for word in agreed if word.ends_segment), default=None)
        return new

    def _known(self, hypothesis: Sequence[LiveWord]) -> int:
        """Return how many words at the beginning of the hypothesis are confirmed already.

        Usually it begins with them. One that hears them otherwise now is too late: then time
        decides, and words that are repeated because their times have moved are left out.
        """
        confirmed = self._confirmed
        if _common(hypothesis, confirmed) == len(confirmed):
            return len(confirmed)
        until_s = confirmed[-1].end_s
        count = sum(_middle_s(word) <= until_s for word in hypothesis)
        rest = hypothesis[count:]
        if not rest or rest[0].start_s - until_s > NEAR_S:
            return count
        for length in range(min(MAX_REPEATED, len(confirmed), len(rest)), 0, -1):
            if _common(rest, confirmed[-length:]) == length:
                return count + length
        return count


def _common(one: Sequence[LiveWord], other: Sequence[LiveWord]) -> int:
    """Return how many words at the beginning are the same."""
    count = 0
    for first, second in zip(one, other, strict=False):
        if first.key != second.key:
            break
        count += 1
    return count


def _middle_s(word: LiveWord) -> float:
    return (word.start_s + word.end_s) / 2
