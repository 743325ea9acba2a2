"""SRT and WebVTT text from segments. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whisper_router.domain import Segment

ARROW = "-->"  # separates the times of a cue, so a text must not hold it (WebVTT 4.1)
LONGEST_S = 1e9  # no audio is that long


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One line of subtitles: never empty, without line breaks, `start_ms < end_ms`."""

    start_ms: int
    end_ms: int
    text: str


def cues(segments: Sequence[Segment]) -> Iterator[Cue]:
    """Yield the segments that hold text, in an order in which starts never go back."""
    start_ms = 0
    for segment in segments:
        text = _one_line(segment.text)
        if text:
            start_ms = max(start_ms, milliseconds(segment.start_s))
            end_ms = max(start_ms + 1, milliseconds(segment.end_s))
            yield Cue(start_ms=start_ms, end_ms=end_ms, text=text)


def srt(segments: Sequence[Segment]) -> str:
    """Return SubRip text, indices from 1; empty without speech."""
    return "".join(
        f"{index}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text}\n\n"
        for index, cue in enumerate(cues(segments), start=1)
    )


def vtt(segments: Sequence[Segment]) -> str:
    """Return WebVTT text without cue ids; only the header without speech."""
    body = (
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{cue.text}\n\n"
        for cue in cues(segments)
    )
    return "WEBVTT\n\n" + "".join(body)


def milliseconds(time_s: float) -> int:
    """Return whole milliseconds, 0 for what is not a time (NaN is not below anything)."""
    return round(max(time_s, 0.0) * 1000) if time_s < LONGEST_S else 0


def _one_line(text: str) -> str:
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
