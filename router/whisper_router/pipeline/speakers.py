"""Who said which words: a diarization's turns laid over the words of a transcript. Pure."""

from bisect import bisect_left
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
    """Finds who speaks in a stretch of audio. Turns that begin long before it may reach into it."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start_s)
        self._starts = [turn.start_s for turn in self._turns]
        self._longest_s = max(turn.end_s - turn.start_s for turn in turns)

    def speaker(self, start_s: float, end_s: float) -> int:
        shares: dict[int, float] = {}
        for turn in self._near(start_s, end_s):
            shared_s = min(turn.end_s, end_s) - max(turn.start_s, start_s)
            if shared_s > 0:
                shares[turn.speaker] = shares.get(turn.speaker, 0.0) + shared_s
        if shares:
            return max(shares, key=lambda speaker: shares[speaker])
        return min(self._beside(start_s), key=lambda turn: _distance(turn, start_s, end_s)).speaker

    def _near(self, start_s: float, end_s: float) -> Sequence[Turn]:
        begin = bisect_left(self._starts, start_s - self._longest_s)
        return self._turns[begin : bisect_left(self._starts, end_s)]

    def _beside(self, start_s: float) -> Sequence[Turn]:
        """Return the turns among which the nearest is."""
        begin = bisect_left(self._starts, start_s - self._longest_s)
        at = bisect_left(self._starts, start_s)
        return self._turns[max(0, begin - 1) : at + 1]


def _distance(turn: Turn, start_s: float, end_s: float) -> float:
    return max(turn.start_s - end_s, start_s - turn.end_s)


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
