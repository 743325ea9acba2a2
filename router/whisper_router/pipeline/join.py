"""Chunks that share some audio, because it held no pause, joined at a word. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from whisper_router.audio.media import Span
from whisper_router.domain import SAMPLE_RATE_HZ, Hole, Segment, TokenLogprob, Word
from whisper_router.pipeline.merge import place
from whisper_router.pipeline.plan import OVERLAP_S, PlannedChunk

SAME_WORD_S = 0.6
"""How far two chunks may place the same word from each other: Whisper's times are that rough."""
EDGE_WORDS, EDGE_LETTERS = 2, 4
"""The first words of a chunk that begins with a pause are often placed in the pause, so they may be
anywhere in the overlap, if they are long enough not to be there by chance."""
DISTANCE_WEIGHT = 0.25
"""How much a word's distance from the overlap's middle counts against its difference in time."""
NEIGHBOUR_S = 0.3
"""The difference in time that the same word beside it, on either side, makes up for."""


class Joint:
    """Takes the segments of chunks in order, and gives them on without what was heard twice.

    Where two chunks overlap, the first is trusted up to a word that both have heard at the same
    time, near the middle of the overlap, and the second from there on; if there is none, each up to
    the middle. The segments at the end of a chunk wait for those at the beginning of the next one.
    Times never go back.
    """

    def __init__(self) -> None:
        self._chunk: PlannedChunk | None = None
        self._is_shared = False  # whether its end is to be joined with the next one
        self._zone: Span | None = None  # in which `_before` and `_after` both were heard
        self._before: list[Segment] = []
        self._after: list[Segment] = []
        self._end_s = 0.0  # of what was given last

    def take(self, chunk: PlannedChunk, event: Segment | Hole) -> list[Segment | Hole]:
        """Return what is settled by the next event, which comes from `chunk`."""
        given: list[Segment | Hole] = []
        if chunk is not self._chunk:
            given += self._enter(chunk)
        if isinstance(event, Hole):
            self._is_shared = False  # what the next chunk hears in the overlap is all there is
            return [*given, *self._join(), *self._let_go(), self._own_part(event)]
        if self._zone is not None:
            self._after.append(event)
            if event.end_s < self._zone.end_s:
                return given
            return [*given, *self._join()]
        return [*given, *self._hold([event])]

    def end(self) -> list[Segment]:
        """Return what is left when the last chunk has ended."""
        return [*self._join(), *self._let_go()]

    def _enter(self, chunk: PlannedChunk) -> list[Segment]:
        given = self._join()
        self._chunk, self._is_shared = chunk, chunk.is_cut
        if not chunk.overlap:
            return [*given, *self._let_go()]
        start_s = chunk.start / SAMPLE_RATE_HZ
        self._zone = Span(start_s=start_s, end_s=start_s + chunk.overlap_s)
        return given

    def _join(self) -> list[Segment]:
        """Join at the overlap, if one waits for that; what the next one has to see stays here."""
        if self._zone is None:
            return []
        before, after = joined(self._before, self._after, self._zone)
        self._zone, self._before, self._after = None, [], []
        return [*self._in_time(before), *self._hold(after)]

    def _hold(self, segments: Iterable[Segment]) -> list[Segment]:
        """Keep what reaches into the overlap with the next chunk."""
        given = []
        for segment in segments:
            if self._chunk and self._is_shared and segment.end_s > shared_from_s(self._chunk):
                self._before.append(segment)
            else:
                given.append(segment)
        return self._in_time(given)

    def _let_go(self) -> list[Segment]:
        """Give what is left: there is nothing to join it with."""
        left = self._before + self._after
        self._zone, self._before, self._after = None, [], []
        return self._in_time(left)

    def _own_part(self, hole: Hole) -> Hole:
        """Return the hole without what the chunk before has heard."""
        start_s = max(hole.start_s, self._end_s)
        return replace(hole, start_s=start_s, end_s=max(start_s, hole.end_s))

    def _in_time(self, segments: Iterable[Segment]) -> list[Segment]:
        """Return the segments, none beginning before the one before it has ended."""
        given = []
        for segment in segments:
            kept = segment
            if segment.start_s < self._end_s:
                limit_s = max(self._end_s, segment.end_s)
                kept = place(segment, offset_s=0.0, limit_s=limit_s, after_s=self._end_s)
            self._end_s = kept.end_s
            given.append(kept)
        return given


def shared_from_s(chunk: PlannedChunk) -> float:
    """Return where the part of a cut chunk begins that the next one has as well."""
    return chunk.end / SAMPLE_RATE_HZ - OVERLAP_S


def heard_before(segments: Iterable[Segment], end_s: float) -> list[Segment]:
    """Return what of the segments was said before `end_s`, cut at a word."""
    timed = [_timed(segment) for segment in segments]
    words = _words(timed)
    return _cut(timed, 0, sum(word.end_s <= end_s for word in words))


def joined(
    before: Sequence[Segment], after: Sequence[Segment], zone: Span
) -> tuple[list[Segment], list[Segment]]:
    """Return both without what the other one has in the zone."""
    before, after = [_timed(segment) for segment in before], [_timed(segment) for segment in after]
    first, second = _words(before), _words(after)
    if max((word.end_s for word in first), default=-math.inf) <= max(
        zone.start_s, min((word.start_s for word in second), default=math.inf)
    ):
        return list(before), list(after)  # neither has heard what the other one has
    if min((word.start_s for word in second), default=math.inf) >= zone.end_s:
        return list(before), list(after)
    if (same := _same_word(first, second, zone)) is not None:
        first_until, second_from = same[0] + 1, same[1] + 1
    else:
        middle_s = (zone.start_s + zone.end_s) / 2
        first_until = sum(_middle_s(word) < middle_s for word in first)
        second_from = sum(_middle_s(word) < middle_s for word in second)
    return _cut(before, 0, first_until), _cut(after, second_from, len(second))


def _timed(segment: Segment) -> Segment:
    """Return the segment with words; an engine that times none has spoken at one pace."""
    texts = segment.text.split()
    if segment.words or not texts:
        return segment
    step_s = (segment.end_s - segment.start_s) / len(texts)
    words = [
        Word(
            text=text,
            start_s=segment.start_s + at * step_s,
            end_s=segment.start_s + (at + 1) * step_s,
            probability=0.0,
        )
        for at, text in enumerate(texts)
    ]
    return replace(segment, words=words)


def _same_word(first: Sequence[Word], second: Sequence[Word], zone: Span) -> tuple[int, int] | None:
    """Return where the word stands that both have heard, closest in time and to the middle."""
    middle_s = (zone.start_s + zone.end_s) / 2
    best: tuple[float, int, int] | None = None
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            apart_s = abs(_middle_s(one) - _middle_s(other))
            if not (_is_same(one, other) and _is_in(zone, one) and _is_in(zone, other)):
                continue
            if apart_s > SAME_WORD_S and not _is_at_edge(i, j, len(first), _plain(one)):
                continue
            from_middle_s = abs((_middle_s(one) + _middle_s(other)) / 2 - middle_s)
            bonus_s = NEIGHBOUR_S * _same_beside(first, second, i, j)
            score = (apart_s + DISTANCE_WEIGHT * from_middle_s - bonus_s, i, j)
            best = score if best is None else min(best, score)
    return None if best is None else best[1:]


def _is_in(zone: Span, word: Word) -> bool:
    return word.end_s > zone.start_s and word.start_s < zone.end_s


def _is_at_edge(i: int, j: int, count: int, text: str) -> bool:
    """Tell whether it is one of the last words before the cut and of the first after it."""
    return i >= count - EDGE_WORDS and j < EDGE_WORDS and len(text) >= EDGE_LETTERS


def _is_same(one: Word, other: Word) -> bool:
    return _plain(one) == _plain(other) != ""


def _same_beside(first: Sequence[Word], second: Sequence[Word], i: int, j: int) -> int:
    """Return on how many sides the next words are the same as well."""
    return sum(
        0 <= i + step < len(first)
        and 0 <= j + step < len(second)
        and _is_same(first[i + step], second[j + step])
        for step in (-1, 1)
    )


def _cut(segments: Sequence[Segment], first: int, until: int) -> list[Segment]:
    """Return the words `[first, until)` of all segments' words, in their segments."""
    kept, at = [], 0
    for segment in segments:
        count = len(segment.words)
        low, high = max(first - at, 0), min(until - at, count)
        at += count
        if low == 0 and high == count:
            kept.append(segment)
        elif low < high:
            kept.append(_part(segment, low, high))
    return kept


def _part(segment: Segment, low: int, high: int) -> Segment:
    """Return the segment with some of its words. Its token ids cannot be told apart by word."""
    words = segment.words[low:high]
    ends = _ends(segment)
    begin, end = ends[low - 1] if low else 0, ends[high - 1]
    if high == len(segment.words):
        end = len(segment.text)
    return replace(
        segment,
        text=segment.text[begin:end],
        start_s=words[0].start_s if low else segment.start_s,
        end_s=words[-1].end_s if high < len(segment.words) else segment.end_s,
        words=words,
        tokens=(),
        logprobs=_logprobs(segment, begin, end),
    )


def _ends(segment: Segment) -> list[int]:
    """Return where each word ends in the text."""
    ends, at = [], 0
    for word in segment.words:
        found = segment.text.find(word.text, at)
        at = (at if found < 0 else found) + len(word.text)
        ends.append(min(at, len(segment.text)))
    return ends


def _logprobs(segment: Segment, begin: int, end: int) -> Sequence[TokenLogprob]:
    """Return the tokens whose text begins in `[begin, end)`."""
    kept, raw = [], b""
    for token in segment.logprobs:
        if begin <= len(raw.decode(errors="ignore")) < end:
            kept.append(token)
        raw += token.data
    return tuple(kept)


def _words(segments: Iterable[Segment]) -> list[Word]:
    return [word for segment in segments for word in segment.words]


def _middle_s(word: Word) -> float:
    return (word.start_s + word.end_s) / 2


def _plain(word: Word) -> str:
    return "".join(letter for letter in word.text.casefold() if letter.isalnum())
