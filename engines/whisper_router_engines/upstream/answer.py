"""An OpenAI `verbose_json` as events of ours. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisper_router.domain import LanguageDetected, Segment, Word
from whisper_router.languages import LANGUAGES, language_code
from whisper_router_engines.whispercpp.numbers import compression_ratio, finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one chunk of `duration_s`, for which `language` was asked or none."""

    body: Mapping[str, Any]
    duration_s: float
    language: str | None

    def detected(self) -> LanguageDetected:
        """Return the language; English where the server does not say, as Whisper guesses."""
        code = self.language or language_code(str(self.body.get("language") or "")) or "en"
        return LanguageDetected(code=code if code in LANGUAGES else "en", probability=1.0)

    def segments(self) -> Iterator[Segment]:
        """Yield the segments that have a text, in order, inside the chunk.

        A server that tells no segments gives one for all of its text.

        Raises:
            KeyError, TypeError, ValueError: the answer is not of that form.
        """
        words = self._words()
        raws = self.body.get("segments") or [self._whole()]
        last_end_s, taken = 0.0, 0
        for number, raw in enumerate(raws):
            start_s = self._inside(raw["start"], last_end_s)
            end_s = last_end_s = self._inside(raw["end"], start_s)
            text = str(raw["text"]).rstrip()
            if not text.strip():
                continue
            first = taken
            is_last = number + 1 == len(raws)
            while taken < len(words) and (is_last or words[taken].start_s < end_s):
                taken += 1
            own = [_clamped(word, start_s, end_s) for word in words[first:taken]]
            yield _segment(raw, text, start_s, end_s, own)

    def _whole(self) -> Mapping[str, Any]:
        return {"start": 0.0, "end": self.duration_s, "text": str(self.body["text"])}

    def _words(self) -> Sequence[Word]:
        return [
            Word(
                text=str(raw["word"]).strip(),
                start_s=finite(float(raw["start"])),
                end_s=finite(float(raw["end"])),
                probability=_number(raw.get("probability"), 1.0),
            )
            for raw in self.body.get("words") or ()
            if str(raw["word"]).strip()
        ]

    def _inside(self, value: float, least_s: float) -> float:
        return min(max(finite(float(value)), least_s), self.duration_s)


def _segment(
    raw: Mapping[str, Any], text: str, start_s: float, end_s: float, words: Sequence[Word]
) -> Segment:
    return Segment(
        start_s=start_s,
        end_s=end_s,
        text=text,
        tokens=tuple(int(token) for token in raw.get("tokens") or ()),
        words=words,
        temperature=_number(raw.get("temperature")),
        avg_logprob=_number(raw.get("avg_logprob")),
        compression_ratio=compression_ratio(text.encode()),
        no_speech_prob=_number(raw.get("no_speech_prob")),
    )


def _clamped(word: Word, start_s: float, end_s: float) -> Word:
    begin_s = min(max(word.start_s, start_s), end_s)
    return Word(
        text=word.text,
        start_s=begin_s,
        end_s=min(max(word.end_s, begin_s), end_s),
        probability=word.probability,
    )


def _number(value: float | None, default: float = 0.0) -> float:
    return default if value is None else finite(float(value))
