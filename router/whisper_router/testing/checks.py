"""What every engine's events must be like."""

# ruff: noqa: S101 these are tests

import math
from itertools import pairwise

from whisper_router.domain import Chunk, LanguageDetected, Segment
from whisper_router.engine_api import EngineEvent, WorkerStarted

TIME_SLACK_S = 0.001


def check_order(events: list[EngineEvent]) -> None:
    """Assert: `WorkerStarted` first, the language once and before any segment."""
    assert isinstance(events[0], WorkerStarted)
    kinds = [type(event) for event in events[1:]]
    assert kinds.count(WorkerStarted) == 0
    assert kinds.count(LanguageDetected) == 1
    assert kinds[0] is LanguageDetected


def check_segments(events: list[EngineEvent], chunk: Chunk) -> None:
    """Assert: times in order and inside the chunk, every number finite, texts well-formed."""
    segments = segments_of(events)
    for event in events:
        assert not isinstance(event, LanguageDetected) or 0.0 <= event.probability <= 1.0
    for segment in segments:
        assert 0.0 <= segment.start_s <= segment.end_s <= chunk.duration_s + TIME_SLACK_S
        assert 0.0 <= segment.seek_s <= chunk.duration_s + TIME_SLACK_S
        assert all(math.isfinite(number) for number in _numbers(segment))
        assert 0.0 <= segment.no_speech_prob <= 1.0
        assert segment.text == segment.text.rstrip()
    assert all(a.end_s <= b.start_s + TIME_SLACK_S for a, b in pairwise(segments))


def check_words(segment: Segment) -> None:
    """Assert: words in order, not overlapping, inside the segment, and together its text."""
    edges = [edge for word in segment.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    if edges:
        assert segment.start_s - TIME_SLACK_S <= edges[0]
        assert edges[-1] <= segment.end_s + TIME_SLACK_S
        joined = "".join("".join(word.text.split()) for word in segment.words)
        assert joined == "".join(segment.text.split())
    assert all(word.text == word.text.strip() for word in segment.words)
    assert all(0.0 <= word.probability <= 1.0 for word in segment.words)
    if segment.logprobs:
        assert all(token.logprob <= 0.0 for token in segment.logprobs)
        raw = b"".join(token.data for token in segment.logprobs)
        assert raw.decode(errors="replace").rstrip() == segment.text


def segments_of(events: list[EngineEvent]) -> list[Segment]:
    """Return the segments among the events."""
    return [event for event in events if isinstance(event, Segment)]


def _numbers(segment: Segment) -> list[float]:
    return [
        segment.start_s,
        segment.end_s,
        segment.seek_s,
        segment.temperature,
        segment.avg_logprob,
        segment.compression_ratio,
        segment.no_speech_prob,
        *(number for word in segment.words for number in (word.start_s, word.end_s)),
        *(token.logprob for token in segment.logprobs),
    ]
