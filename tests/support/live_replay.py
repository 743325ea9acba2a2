"""Live sessions over recorded answers of the real engine: no engine, no audio, no clock."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whisper_router.domain import SAMPLE_RATE_HZ, Segment, Word
from whisper_router.live.events import LiveEvent
from whisper_router.live.session import Hypothesis, LiveOptions, LiveSession
from whisper_router.live.turns import WINDOW

RECORDED = Path(__file__).parents[1] / "live" / "recorded.json"
OPTIONS = LiveOptions()


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One session: what the detector thought of each window, and what the engine answered."""

    sample: str
    took_s: float
    probabilities: Sequence[float]
    answers: Mapping[Hypothesis, tuple[str, Sequence[Segment]]]

    @property
    def duration_s(self) -> float:
        """How much audio there is."""
        return round(len(self.probabilities) * WINDOW / SAMPLE_RATE_HZ, 3)

    def answer(self, session: LiveSession, request: Hypothesis) -> None:
        """Give the recorded answer; a request that was not recorded is a failure of the test."""
        language, segments = self.answers[request]
        session.answer(segments, language=language, took_s=self.took_s)

    def hear(self, session: LiveSession, start: int, end: int) -> None:
        """Let the session hear windows `[start, end)`."""
        silence = np.zeros((end - start) * WINDOW, dtype=np.float32)
        session.hear(silence, self.probabilities[start:end])


def recordings() -> Iterator[Recording]:
    """Yield every recorded session."""
    for item in json.loads(RECORDED.read_text(encoding="utf-8")):
        yield Recording(
            sample=item["sample"],
            took_s=item["took_s"],
            probabilities=item["probabilities"],
            answers={_request(answer): _answer(answer) for answer in item["answers"]},
        )


def straight(recording: Recording, options: LiveOptions = OPTIONS) -> Sequence[LiveEvent]:
    """Return the events when each window comes by itself and each answer comes at once."""
    session, events = LiveSession(options), []
    for at in range(len(recording.probabilities)):
        recording.hear(session, at, at + 1)
        answer_all(recording, session)
        events += session.take_events()
    session.cut()
    answer_all(recording, session)
    return [*events, *session.take_events()]


def answer_all(recording: Recording, session: LiveSession) -> None:
    """Answer until nothing more is asked."""
    while (request := session.take_request()) is not None:
        recording.answer(session, request)


def written(segment: Segment) -> list[Any]:
    """Return a segment as it is recorded."""
    words = [[w.text, w.start_s, w.end_s, round(w.probability, 2)] for w in segment.words]
    return [segment.text, segment.start_s, segment.end_s, words]


def read(row: Sequence[Any]) -> Segment:
    """Return a recorded segment."""
    text, start_s, end_s, words = row
    return Segment(
        text=text,
        start_s=start_s,
        end_s=end_s,
        words=[Word(text=w[0], start_s=w[1], end_s=w[2], probability=w[3]) for w in words],
    )


def _request(answer: Mapping[str, Any]) -> Hypothesis:
    return Hypothesis(**{key: answer[key] for key in ("start", "end", "prompt", "language")})


def _answer(answer: Mapping[str, Any]) -> tuple[str, Sequence[Segment]]:
    return answer["heard"], [read(row) for row in answer["segments"]]
