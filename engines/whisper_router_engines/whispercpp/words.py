"""Tokens with times → words with times. Pure."""

import codecs
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from whisper_router.domain import Word

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue", "km", "bo"})
"""Languages written without spaces: each character group of the vocabulary is a word."""


MIN_WORD_S = 0.03
"""A word shorter than this has no time of its own: no syllable is."""

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedToken:
    """A text token as whisper.cpp gives it, times in seconds of the chunk."""

    data: bytes
    start_s: float
    end_s: float
    logprob: float


@dataclass(slots=True, kw_only=True)
class _Unit:
    """Tokens whose bytes together are whole characters."""

    text: str
    tokens: list[TimedToken] = field(default_factory=list)


def words_of(
    tokens: Sequence[TimedToken], *, language: str, start_s: float, end_s: float
) -> tuple[Word, ...]:
    """Return the words in `tokens`, in order, not overlapping, inside `[start_s, end_s]`."""
    groups = [group for group in _groups(_units(tokens), language) if group.text.strip()]
    texts = [group.text.strip() for group in groups]
    raw = [(group.tokens[0].start_s, group.tokens[-1].end_s) for group in groups]
    weights = [len(text) for text in texts]
    spans = repaired(raw, weights=weights, start_s=start_s, end_s=end_s)
    return tuple(
        Word(text=text, start_s=span[0], end_s=span[1], probability=_probability(group.tokens))
        for text, span, group in zip(texts, spans, groups, strict=True)
    )


def repaired(
    spans: Sequence[Span], *, weights: Sequence[int], start_s: float, end_s: float
) -> list[Span]:
    """Return `spans` in order, not overlapping, inside the bounds, and none needlessly empty.

    whisper.cpp begins a segment's first tokens at the end of the segment before, so that words
    after a pause come out empty. Each run of empty spans shares the time up to the end of the next
    whole one by `weights`.
    """
    clamped = _clamped(spans, start_s, end_s)
    result: list[Span] = []
    run_from = 0
    for at, (begin, end) in enumerate(clamped):
        is_last = at == len(clamped) - 1
        if end - begin < MIN_WORD_S and not is_last:
            continue
        if run_from == at and end - begin >= MIN_WORD_S:
            result.append((begin, end))
        else:
            result += _shared(
                weights[run_from : at + 1],
                result[-1][1] if result else start_s,
                end if end - begin >= MIN_WORD_S else end_s,
            )
        run_from = at + 1
    return result


def _clamped(spans: Sequence[Span], start_s: float, end_s: float) -> list[Span]:
    result = []
    floor = start_s
    for begin, end in spans:
        first = min(max(begin, floor), end_s)
        floor = min(max(end, first), end_s)
        result.append((first, floor))
    return result


def _shared(weights: Sequence[int], start_s: float, end_s: float) -> Iterator[Span]:
    """Split `[start_s, end_s]` in proportion to `weights`."""
    total, done, begin = sum(weights), 0, start_s
    for weight in weights:
        done += weight
        end = end_s if done == total else round(start_s + (end_s - start_s) * done / total, 3)
        end = min(max(end, begin), end_s)
        yield begin, end
        begin = end


def _probability(tokens: Sequence[TimedToken]) -> float:
    return sum(math.exp(min(token.logprob, 0.0)) for token in tokens) / len(tokens)


def _units(tokens: Sequence[TimedToken]) -> Iterator[_Unit]:
    """Join tokens until their bytes decode: a character may be split over several."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    unit = _Unit(text="")
    for token in tokens:
        unit.text += decoder.decode(token.data)
        unit.tokens.append(token)
        if not decoder.getstate()[0]:
            yield unit
            unit = _Unit(text="")
    if unit.tokens:
        unit.text += decoder.decode(b"", final=True)
        yield unit


def _groups(units: Iterator[_Unit], language: str) -> Iterator[_Unit]:
    """Join units into words: at spaces, or each for itself where no spaces are written."""
    word: _Unit | None = None
    for unit in units:
        if word is not None and not _begins_word(unit.text, word.text, language):
            word.text += unit.text
            word.tokens += unit.tokens
            continue
        if word is not None:
            yield word
        word = unit
    if word is not None:
        yield word


def _begins_word(text: str, before: str, language: str) -> bool:
    if text.startswith(" "):
        return before.strip() != ""
    return language in UNSPACED and any(character.isalnum() for character in text)
