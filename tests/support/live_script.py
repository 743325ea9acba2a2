"""An engine for live sessions that knows what is said when, and hears what its window holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from whisper_router.domain import Segment, Word
from whisper_router.live.events import Final, LiveEvent
from whisper_router.live.session import Hypothesis, LiveSession
from whisper_router.live.turns import WINDOW

RATE_HZ = 16_000


@dataclass(kw_only=True)
class Speaker:
    """Says a word of 0.3 s each `pace_s`, from `begin_s` to `end_s`, without a pause.

    The engine ends a segment with each `segment_words`-th word; 0: it never does. A word that its
    window holds in part it hears otherwise each time. `last` ends what is said.
    """

    begin_s: float
    end_s: float
    pace_s: float = 0.5
    segment_words: int = 4
    last: str = ""
    asked: list[Hypothesis] = field(default_factory=list)

    @property
    def words(self) -> list[tuple[str, float, float]]:
        count = round((self.end_s - self.begin_s) / self.pace_s)
        begins = [self.begin_s + number * self.pace_s for number in range(count)]
        texts = [f"w{number}" for number in range(count)]
        texts[-1:] = [text + self.last for text in texts[-1:]]
        return [(text, at, at + 0.3) for text, at in zip(texts, begins, strict=True)]

    def probability(self, at: int) -> float:
        """Return what the detector thinks of the window at sample `at`."""
        return 0.9 if self.begin_s <= at / RATE_HZ < self.end_s else 0.0

    def answer(self, request: Hypothesis) -> list[Segment]:
        """Return what is heard between the request's samples, on its own timeline."""
        self.asked.append(request)
        start_s, end_s = request.start / RATE_HZ, request.end / RATE_HZ
        segments: list[list[Word]] = [[]]
        for number, (text, begin, end) in enumerate(self.words):
            if begin >= end_s or end <= start_s + 0.001:
                continue
            is_whole = start_s <= begin + 0.001 and end <= end_s
            segments[-1].append(
                Word(
                    text=text if is_whole else f"{text}-{len(self.asked)}",
                    start_s=max(begin - start_s, 0.0),
                    end_s=min(end, end_s) - start_s,
                    probability=0.9,
                )
            )
            if self.segment_words and (number + 1) % self.segment_words == 0:
                segments.append([])
        return [_segment(words) for words in segments if words]


def _segment(words: Sequence[Word]) -> Segment:
    return Segment(
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        text="".join(f" {word.text}" for word in words),
        words=words,
    )


def play(
    session: LiveSession, speaker: Speaker, *, seconds: float, took_s: float = 0.1
) -> list[LiveEvent]:
    """Let the session hear so much audio; each answer comes at once, as if after `took_s`."""
    events: list[LiveEvent] = []
    for at in range(0, round(seconds * RATE_HZ), WINDOW):
        session.hear(np.zeros(WINDOW, dtype=np.float32), [speaker.probability(at)])
        answer_all(session, speaker, took_s)
        events += session.take_events()
    return events


def answer_all(session: LiveSession, speaker: Speaker, took_s: float = 0.1) -> None:
    """Answer until nothing more is asked."""
    while (request := session.take_request()) is not None:
        assert len(session.samples(request)) == request.end - request.start
        session.answer(speaker.answer(request), language="en", took_s=took_s)


def finals(events: Sequence[LiveEvent]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]
