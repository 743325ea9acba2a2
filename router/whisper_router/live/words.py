"""Words on the timeline of a live session, as the text spells them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from whisper_router.domain import Segment

ENDERS = tuple(".?!\u3002\uff1f\uff01\uff0e\uff61\u061f\u06d4\u0964\u0965\u055e\u0589")
"""What ends a sentence in the scripts of Whisper's languages (Unicode: Sentence_Terminal)."""
CLOSERS = "\"' )]\u2019\u201d\u00bb\uff09\u300d\u300f"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWord:
    """A word in seconds of the session's audio.

    `text` keeps the white space that stands before the word, so that texts are joined as they are:
    not every language writes spaces. `ends_segment` tells that the engine ended a segment with it.
    """

    text: str
    start_s: float
    end_s: float
    probability: float
    ends_segment: bool = False

    @property
    def key(self) -> str:
        """What two hypotheses must share to agree on this word: neither case nor punctuation."""
        text = self.text.strip().casefold()
        begin, end = 0, len(text)
        while begin < end and not text[begin].isalnum():
            begin += 1
        while end > begin and not text[end - 1].isalnum():
            end -= 1
        return text[begin:end] or text


def text_of(words: Iterable[LiveWord]) -> str:
    """Return the words as one text without surrounding white space."""
    return "".join(word.text for word in words).strip()


def sounds_complete(text: str) -> bool:
    """Tell whether a text ends as a sentence does: not in the middle, and not in three dots."""
    text = text.rstrip(CLOSERS)
    return text.endswith(ENDERS) and not text.endswith(("..", "…"))


def words_in(segments: Iterable[Segment], *, offset_s: float) -> Sequence[LiveWord]:
    """Return the words of all segments, `offset_s` later.

    An engine that stamps no words has its segments split at spaces, the time shared by letters.
    """
    return tuple(
        word
        for segment in segments
        for word in (_stamped(segment, offset_s) or tuple(_split(segment, offset_s)))
    )


def _stamped(segment: Segment, offset_s: float) -> Sequence[LiveWord]:
    """Return the segment's own words, each with all of the text up to its end.

    Empty where they are not those of its text.
    """
    found, begin = [], 0
    for word in segment.words:
        at = segment.text.find(word.text, begin)
        if at < 0:
            return ()
        end = at + len(word.text)
        found.append((segment.text[begin:end], word.start_s, word.end_s, word.probability))
        begin = end
    return [
        LiveWord(
            text=text + (segment.text[begin:] if number == len(found) else ""),
            start_s=round(start_s + offset_s, 3),
            end_s=round(end_s + offset_s, 3),
            probability=probability,
            ends_segment=number == len(found),
        )
        for number, (text, start_s, end_s, probability) in enumerate(found, start=1)
    ]


def _split(segment: Segment, offset_s: float) -> Iterator[LiveWord]:
    parts = segment.text.split()
    total, done = sum(map(len, parts)), 0
    length_s = segment.end_s - segment.start_s
    for number, part in enumerate(parts, start=1):
        begin, done = done, done + len(part)
        yield LiveWord(
            text=f" {part}",
            start_s=round(segment.start_s + offset_s + length_s * begin / total, 3),
            end_s=round(segment.start_s + offset_s + length_s * done / total, 3),
            probability=1.0,
            ends_segment=number == len(parts),
        )
