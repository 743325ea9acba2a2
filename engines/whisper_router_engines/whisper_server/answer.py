"""What whisper-server answers (`verbose_json`) as events of ours. Pure.

The names are those of `examples/server/server.cpp` of whisper.cpp 1.8.5. Its "words" are tokens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from whisper_router.domain import LanguageDetected, Segment, Word
from whisper_router.languages import LANGUAGES
from whisper_router_engines.whispercpp.numbers import (
    WORST_LOGPROB,
    compression_ratio,
    finite,
    logprob,
)
from whisper_router_engines.whispercpp.words import TimedToken, words_of

REPLACED = "\N{REPLACEMENT CHARACTER}"
"""What each token shows of a character that is split over several."""

_CODES: Mapping[str, str] = {name: code for code, name in LANGUAGES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to one chunk of `duration_s`, of which words were asked for or not."""

    body: Mapping[str, Any]
    duration_s: float
    with_words: bool

    def language(self) -> LanguageDetected:
        """Return the language. How sure whisper-server is would cost another run of its encoder.

        Raises:
            KeyError: it is none that we know.
        """
        name = self.body["language"]
        code = name if name in LANGUAGES else _CODES[name]
        return LanguageDetected(code=code, probability=1.0)

    def segments(self) -> Iterator[Segment]:
        """Yield the segments that have a text, in order, inside the chunk.

        Raises:
            KeyError, TypeError, ValueError: the answer is not of that form.
        """
        language, last_end_s = self.language().code, 0.0
        for raw in self.body["segments"]:
            # They are multiples of 10 ms, but for what a multiplication has left.
            start_s = min(max(round(raw["start"], 2), last_end_s), self.duration_s)
            end_s = min(max(round(raw["end"], 2), start_s), self.duration_s)
            last_end_s = end_s
            if raw["text"].strip():
                yield self._segment(raw, language, start_s, end_s)

    def _segment(
        self, raw: Mapping[str, Any], language: str, start_s: float, end_s: float
    ) -> Segment:
        text: str = raw["text"].rstrip()
        words: Sequence[Word] = ()
        if self.with_words:
            tokens = _timed(raw.get("words", ()), raw["text"])
            words = words_of(tokens, language=language, start_s=start_s, end_s=end_s)
        return Segment(
            start_s=start_s,
            end_s=end_s,
            text=text,
            tokens=tuple(raw.get("tokens", ())),
            words=words,
            temperature=_number(raw.get("temperature")),
            avg_logprob=_number(raw.get("avg_logprob")),
            compression_ratio=compression_ratio(text.encode()),
            no_speech_prob=_number(raw.get("no_speech_prob")),
        )


def repaired(tokens: Sequence[str], text: str) -> list[str]:
    """Give characters that were split over tokens, and so came broken, to the first of them.

    What is broken stands for whatever the text has between what is whole; the end of the text
    belongs to the last tokens. So nothing is lost, and nothing comes twice.
    """
    runs = [(broken, list(run)) for broken, run in groupby(tokens, lambda token: REPLACED in token)]
    result: list[str] = []
    at = 0
    for number, (is_broken, run) in enumerate(runs):
        if not is_broken:
            result += run
            at += sum(map(len, run))
            continue
        following = "".join(runs[number + 1][1]) if number + 1 < len(runs) else ""
        is_last = number + 2 >= len(runs)
        end = len(text) - len(following) if is_last else text.find(following, at + 1)
        end = max(at, end)
        result += [text[at:end], *[""] * (len(run) - 1)]
        at = end
    return result


def _timed(tokens: Sequence[Mapping[str, Any]], text: str) -> list[TimedToken]:
    texts = repaired([token["word"] for token in tokens], text)
    return [
        TimedToken(
            data=part.encode(),
            start_s=round(_number(token["start"]), 2),
            end_s=round(_number(token["end"]), 2),
            logprob=_logprob(_number(token["probability"])),
        )
        for token, part in zip(tokens, texts, strict=True)
    ]


def _logprob(probability: float) -> float:
    return logprob(math.log(probability)) if probability > 0.0 else WORST_LOGPROB


def _number(value: float | None) -> float:
    """Return a finite number: JSON has none for NaN, and whisper-server writes null."""
    return 0.0 if value is None else finite(float(value))
