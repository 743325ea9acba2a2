"""Subtitles in lines that people can read: so wide, so many, so many words, the spoken one marked.

The options are those of openai-whisper's subtitle writers. Pure.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, repeat

from whisper_router.api.subtitles import Cue, milliseconds, one_line
from whisper_router.domain import Segment
from whisper_router.live.words import LiveWord, text_of, words_in

Line = Sequence[LiveWord]
Lead = Callable[[str | None], str]
Timed = tuple[int, int, str]
"""When a cue begins and ends, in milliseconds, and its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How cues are made of words. None: as many as there are.

    A cue has lines of at most `max_line_width` characters, and at most `max_line_count` of them;
    or it has at most `max_words_per_line` words in one line. With `highlight_words` a cue is
    repeated for each of its words, which is underlined.
    """

    max_line_width: int | None = None
    max_line_count: int | None = None
    max_words_per_line: int | None = None
    highlight_words: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether segments are cues as they are."""
        return self == Shape()


def shaped(segments: Sequence[Segment], shape: Shape, lead: Lead | None = None) -> Iterator[Cue]:
    """Yield cues in an order in which starts never go back, none longer than its segment.

    `lead` tells what is written before the text of a speaker's cue: its first line is as much
    narrower.
    """
    latest_ms = 0
    for segment in segments:
        words = [word for word in words_in([segment], offset_s=0.0) if word.text.strip()]
        led = len(lead(segment.speaker)) if lead is not None else 0
        for block in _blocks(words, shape, led):
            for begin_ms, until_ms, text in (
                _highlighted(block) if shape.highlight_words else [_plain(block)]
            ):
                start_ms = max(latest_ms, begin_ms)
                end_ms = max(start_ms + 1, until_ms)
                latest_ms = start_ms
                yield Cue(start_ms=start_ms, end_ms=end_ms, text=text, speaker=segment.speaker)


def _blocks(words: Sequence[LiveWord], shape: Shape, led: int) -> Iterator[Sequence[Line]]:
    """Yield the lines of each cue, before whose first one `led` characters are written."""
    is_cut = shape.max_line_width is not None or shape.max_words_per_line is not None
    if shape.max_line_width is None and shape.max_words_per_line is not None:
        per_cue = 1
    else:
        per_cue = shape.max_line_count or max(1, len(words))
    leads = cycle([led, *repeat(0, per_cue - 1)])
    lines = list(_lines(words, shape, leads)) if is_cut else [words] if words else []
    for begin in range(0, len(lines), per_cue):
        yield lines[begin : begin + per_cue]


def _lines(words: Sequence[LiveWord], shape: Shape, leads: Iterator[int]) -> Iterator[Line]:
    """Yield lines; each of `leads` is how much of one is taken."""
    line: list[LiveWord] = []
    width = next(leads)
    for word in words:
        own = len(one_line(word.text)) + (1 if line and word.text[:1].isspace() else 0)
        is_wide = shape.max_line_width is not None and width + own > shape.max_line_width
        is_many = shape.max_words_per_line is not None and len(line) >= shape.max_words_per_line
        if line and (is_wide or is_many):
            yield line
            line, width = [], next(leads)
            own = len(one_line(word.text))
        line.append(word)
        width += own
    if line:
        yield line


def _plain(block: Sequence[Line]) -> Timed:
    start_ms, end_ms = milliseconds(block[0][0].start_s), milliseconds(block[-1][-1].end_s)
    return start_ms, end_ms, "\n".join(one_line(text_of(line)) for line in block)


def _highlighted(block: Sequence[Line]) -> Iterator[Timed]:
    """Yield a cue for each word, and for each pause between two of them one without a mark."""
    at_ms, plain = milliseconds(block[0][0].start_s), _plain(block)[2]
    for word, text in _marked(block):
        start_ms, end_ms = milliseconds(word.start_s), milliseconds(word.end_s)
        if start_ms > at_ms:
            yield at_ms, start_ms, plain
        if end_ms > max(start_ms, at_ms):
            yield max(start_ms, at_ms), end_ms, text
        at_ms = max(at_ms, end_ms)


def _marked(block: Sequence[Line]) -> Iterator[tuple[LiveWord, str]]:
    """Yield each word with the text of the whole block, in which that word is underlined."""
    lines = [one_line(text_of(line)) for line in block]
    for number, line in enumerate(block):
        before = "\n".join([*lines[:number], ""])
        after = "\n".join(["", *lines[number + 1 :]])
        whole, begin = "".join(word.text for word in line), 0
        is_tidy = lines[number] == whole.strip()
        for word in line:
            bare, end = word.text.strip(), begin + len(word.text)
            marked = word.text.replace(bare, f"<u>{bare}</u>", 1)
            text = f"{whole[:begin]}{marked}{whole[end:]}"
            yield word, before + (text.strip() if is_tidy else one_line(text)) + after
            begin = end
