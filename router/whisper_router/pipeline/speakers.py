"""Who said which words: a diarization's turns laid over the words of a transcript. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise
from string import ascii_uppercase

from whisper_router.domain import Segment, Word
from whisper_router.live.words import LiveWord, words_in
from whisper_router.stage_api import Turn


def assign(
    segments: Sequence[Segment], turns: Sequence[Turn], names: Sequence[str]
) -> Sequence[Segment]:
    """Return the segments, each with its speaker; one in which several speak becomes several.

    A word belongs to who speaks during most of it, or else nearest to it. Speaker `n` is called by
    the `n`-th name; those without one are A, B, C, … in the order in which they first say a word.
    Without any turn nobody is said to speak.
    """
    if not turns:
        return segments
    finder, labels = _Finder(turns), Labels(names)
    return [part for segment in segments for part in _split(segment, finder, labels)]


class Labels:
    """What speakers are called: by their names, or by letters in the order in which they come."""

    def __init__(self, names: Sequence[str]) -> None:
        self._labels = dict(enumerate(names))
        self._unnamed = (letter for letter in _letters() if letter not in names)

    def of(self, speaker: int) -> str:
        """Return what a speaker is called."""
        if speaker not in self._labels:
            self._labels[speaker] = next(self._unnamed)
        return self._labels[speaker]


def _letters() -> Iterator[str]:
    yield from ascii_uppercase
    number = len(ascii_uppercase)
    while True:
        number += 1
        yield f"S{number}"


class _Finder:
    """Finds who speaks in a stretch of audio.

    One speaker's turns that overlap count once: they are joined, so that both their starts and
    their ends ascend, and only those that reach into the stretch are looked at, however long the
    others are.
    """

    def __init__(self, turns: Sequence[Turn]) -> None:
        by_speaker: dict[int, list[tuple[float, float]]] = {}
        for turn in sorted(turns, key=lambda turn: turn.start_s):
            spans = by_speaker.setdefault(turn.speaker, [])
            if spans and turn.start_s <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], turn.end_s))
            else:
                spans.append((turn.start_s, max(turn.start_s, turn.end_s)))
        self._voices = [
            (speaker, spans, [end_s for _, end_s in spans]) for speaker, spans in by_speaker.items()
        ]

    def speaker(self, start_s: float, end_s: float) -> int:
        """Return who speaks longest in the stretch, or else nearest to it; of equals the first."""
        shares: list[tuple[float, float, int]] = []
        for speaker, spans, ends in self._voices:
            at = bisect_right(ends, start_s)
            if at == len(spans) or spans[at][0] >= end_s:
                continue
            shares.append((-_shared_s(spans, at, start_s, end_s), spans[at][0], speaker))
        return min(shares or self._distances(start_s, end_s))[2]

    def _distances(self, start_s: float, end_s: float) -> Iterator[tuple[float, float, int]]:
        for speaker, spans, ends in self._voices:
            at = bisect_right(ends, start_s)
            for begin, end in spans[max(0, at - 1) : at + 1]:
                yield max(begin - end_s, start_s - end), begin, speaker


def _shared_s(spans: Sequence[tuple[float, float]], at: int, start_s: float, end_s: float) -> float:
    """Return how much of the stretch lies in the spans from `at` on; that one reaches into it."""
    shared_s = 0.0
    while at < len(spans) and spans[at][0] < end_s:
        shared_s += min(spans[at][1], end_s) - max(spans[at][0], start_s)
        at += 1
    return shared_s


def _split(segment: Segment, finder: _Finder, labels: Labels) -> Iterator[Segment]:
    spelled = words_in([segment], offset_s=0.0)
    if not spelled:
        yield segment
        return
    said = [(finder.speaker(word.start_s, word.end_s), word) for word in spelled]
    runs = [
        (labels.of(speaker), [word for _, word in group])
        for speaker, group in groupby(said, key=lambda pair: pair[0])
    ]
    own = [replace(word, speaker=None) for word in segment.words]
    is_stamped = len(own) == len(spelled)
    begin = 0
    bounds = _bounds(segment, [words for _, words in runs])
    for number, (speaker, words) in enumerate(runs):
        part = own[begin : begin + len(words)] if is_stamped else ()
        begin += len(words)
        yield _part(segment, speaker, words, part, times=bounds[number], is_first=number == 0)


def _bounds(segment: Segment, runs: Sequence[Sequence[LiveWord]]) -> Sequence[tuple[float, float]]:
    """Return where each part begins and ends: the outer ones keep the segment's own bounds."""
    cuts = [second[0].start_s for _, second in pairwise(runs)]
    starts = [segment.start_s, *cuts]
    ends = [*(min(words[-1].end_s, cut) for words, cut in zip(runs, cuts, strict=False))]
    return list(zip(starts, [*ends, segment.end_s], strict=True))


def _part(
    segment: Segment,
    speaker: str,
    spelled: Sequence[LiveWord],
    words: Sequence[Word],
    *,
    times: tuple[float, float],
    is_first: bool,
) -> Segment:
    """Return what one speaker says of a segment. Tokens cannot be split: they stay in front."""
    return replace(
        segment,
        start_s=times[0],
        end_s=max(times),
        text="".join(word.text for word in spelled),
        words=tuple(replace(word, speaker=speaker) for word in words),
        tokens=segment.tokens if is_first else (),
        logprobs=segment.logprobs if is_first else (),
        speaker=speaker,
    )
