"""Subtitles, lyrics and labels from segments. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from whisper_router.domain import Segment

ARROW = "-->"  # separates the times of a cue, so a text must not hold it (WebVTT 4.1)
LONGEST_S = 1e9  # no audio is that long


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One subtitle: never empty, without empty lines, `start_ms < end_ms`."""

    start_ms: int
    end_ms: int
    text: str


def cues(segments: Sequence[Segment]) -> Iterator[Cue]:
    """Yield the segments that hold text, in an order in which starts never go back."""
    start_ms = 0
    for segment in segments:
        text = one_line(segment.text)
        if text:
            start_ms = max(start_ms, milliseconds(segment.start_s))
            end_ms = max(start_ms + 1, milliseconds(segment.end_s))
            yield Cue(start_ms=start_ms, end_ms=end_ms, text=text)


def srt(shown: Iterable[Cue]) -> str:
    """Return SubRip text, indices from 1; empty without speech."""
    return "".join(
        f"{index}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text}\n\n"
        for index, cue in enumerate(shown, start=1)
    )


def vtt(shown: Iterable[Cue]) -> str:
    """Return WebVTT text without cue ids; only the header without speech."""
    body = (
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{cue.text}\n\n"
        for cue in shown
    )
    return "WEBVTT\n\n" + "".join(body)


def tsv(shown: Iterable[Cue]) -> str:
    """Return a table of milliseconds and text, as openai-whisper writes it."""
    rows = (f"{cue.start_ms}\t{cue.end_ms}\t{_flat(cue)}\n" for cue in shown)
    return "start\tend\ttext\n" + "".join(rows)


def aud(shown: Iterable[Cue]) -> str:
    """Return a label track of Audacity: seconds and text, without a header."""
    return "".join(
        f"{cue.start_ms / 1000:.3f}\t{cue.end_ms / 1000:.3f}\t{_flat(cue)}\n" for cue in shown
    )


def lrc(shown: Iterable[Cue]) -> str:
    """Return lyrics with their times, to the hundredth of a second."""
    return "".join(f"[{_lyrics_clock(cue.start_ms)}]{_flat(cue)}\n" for cue in shown)


def milliseconds(time_s: float) -> int:
    """Return whole milliseconds, 0 for what is not a time (NaN is not below anything)."""
    return round(max(time_s, 0.0) * 1000) if time_s < LONGEST_S else 0


def _flat(cue: Cue) -> str:
    return cue.text.replace("\n", " ")


def _lyrics_clock(time_ms: int) -> str:
    minutes, hundredths = divmod(round(time_ms / 10), 6000)
    return f"{minutes:02d}:{hundredths / 100:05.2f}"


def one_line(text: str) -> str:
    """Collapse white space and break up arrows (three hyphens in a row leave one behind)."""
    line = " ".join(text.split())
    while ARROW in line:
        line = line.replace(ARROW, "->")
    return line


def _clock(time_ms: int, point: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{ms:03d}"
