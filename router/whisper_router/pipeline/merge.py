"""Engine events of a chunk → segments on the timeline of the whole audio. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from whisper_router.domain import Segment, Word


def place(segment: Segment, *, offset_s: float, limit_s: float, after_s: float) -> Segment:
    """Return `segment` shifted by `offset_s` and kept between `after_s` and `limit_s`.

    Engines stamp time in steps of 20 ms and sometimes beyond the audio or before the segment that
    came last; clients (players, subtitle tools) refuse such cues.
    """
    start_s = _clamp(segment.start_s + offset_s, after_s, limit_s)
    end_s = _clamp(segment.end_s + offset_s, start_s, limit_s)
    return replace(
        segment,
        start_s=start_s,
        end_s=end_s,
        seek_s=segment.seek_s + offset_s,
        words=_place_words(segment.words, offset_s, start_s, end_s),
    )


def _place_words(
    words: Sequence[Word], offset_s: float, start_s: float, end_s: float
) -> tuple[Word, ...]:
    placed: list[Word] = []
    for word in words:
        begin = _clamp(word.start_s + offset_s, placed[-1].end_s if placed else start_s, end_s)
        stop = _clamp(word.end_s + offset_s, begin, end_s)
        placed.append(replace(word, start_s=begin, end_s=stop))
    return tuple(placed)


def _clamp(value: float, low: float, high: float) -> float:
    """Round to milliseconds: an offset added in binary must not print as 1.2999999999999998."""
    return round(max(low, min(value, max(low, high))), 3)
