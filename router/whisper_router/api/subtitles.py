"""Subtitles, lyrics and labels from segments. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from whisper_router.domain import Segment

ARROW = "-->"  # separates the times of a cue, so a text must not hold it (WebVTT 4.1)
SAME_TURN_MS = 500  # who pauses for less goes on speaking
LONGEST_S = 1e9  # no audio is that long
NOT_IN_NAMES = str.maketrans("", "", "<>&[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """One subtitle: never empty, without empty lines, `start_ms < end_ms`.

    `speaker` says who speaks, where that is known.
    """

    start_ms: int
    end_ms: int
    text: str
    speaker: str | None = None


def cues(segments: Sequence[Segment]) -> Iterator[Cue]:
    """Yield the segments that hold text, in an order in which starts never go back."""
    start_ms = 0
    for segment in segments:
        text = one_line(segment.text)
        if text:
            start_ms = max(start_ms, milliseconds(segment.start_s))
            end_ms = max(start_ms + 1, milliseconds(segment.end_s))
            yield Cue(start_ms=start_ms, end_ms=end_ms, text=text, speaker=segment.speaker)


def srt(shown: Iterable[Cue]) -> str:
    """Return SubRip text, indices from 1; empty without speech."""
    return "".join(
        f"{index}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{_said(cue)}\n\n"
        for index, cue in enumerate(shown, start=1)
    )


def vtt(shown: Iterable[Cue], *, voice_spans: bool = True) -> str:
    """Return WebVTT text without cue ids; only the header without speech.

    `voice_spans`: who speaks is said in a tag, else as in SubRip.
    """
    say = _voice if voice_spans else _said
    body = (
        f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{say(cue)}\n\n"
        for cue in shown
    )
    return "WEBVTT\n\n" + "".join(body)


def tsv(shown: Iterable[Cue]) -> str:
    """Return a table of milliseconds and text, as openai-whisper writes it."""
    rows = (f"{cue.start_ms}\t{cue.end_ms}\t{_flat(_said(cue))}\n" for cue in shown)
    return "start\tend\ttext\n" + "".join(rows)


def aud(shown: Iterable[Cue]) -> str:
    """Return a label track of Audacity: seconds and text, without a header."""
    return "".join(
        f"{cue.start_ms / 1000:.3f}\t{cue.end_ms / 1000:.3f}\t{_label(cue)}{_flat(cue.text)}\n"
        for cue in shown
    )


def rttm(shown: Iterable[Cue]) -> str:
    """Return who speaks when as Rich Transcription Time Marked lines (NIST RT-09, appendix A).

    A name holds no spaces there. Neighbours of one speaker are one turn.
    """
    turns: list[tuple[int, int, str]] = []
    for cue in shown:
        name = "_".join((cue.speaker or "unknown").split())
        if turns and turns[-1][2] == name and cue.start_ms - turns[-1][1] <= SAME_TURN_MS:
            turns[-1] = (turns[-1][0], max(turns[-1][1], cue.end_ms), name)
        else:
            turns.append((cue.start_ms, cue.end_ms, name))
    return "".join(
        f"SPEAKER audio 1 {begin / 1000:.3f} {(end - begin) / 1000:.3f} <NA> <NA> {name} "
        "<NA> <NA>\n"
        for begin, end, name in turns
    )


def lrc(shown: Iterable[Cue]) -> str:
    """Return lyrics with their times, to the hundredth of a second."""
    return "".join(f"[{_lyrics_clock(cue.start_ms)}]{_flat(_said(cue))}\n" for cue in shown)


def milliseconds(time_s: float) -> int:
    """Return whole milliseconds, 0 for what is not a time (NaN is not below anything)."""
    return round(max(time_s, 0.0) * 1000) if time_s < LONGEST_S else 0


def lead(speaker: str | None) -> str:
    """Return what is written before a cue's text where the text itself is to say who speaks."""
    return "" if speaker is None else f"[{_name(speaker)}]: "


def _said(cue: Cue) -> str:
    return lead(cue.speaker) + cue.text


def _voice(cue: Cue) -> str:
    """Return the text in a voice span (WebVTT 4.2.2), whose name ends at the next `>`."""
    return cue.text if cue.speaker is None else f"<v {_name(cue.speaker)}>{cue.text}"


def _label(cue: Cue) -> str:
    return "" if cue.speaker is None else f"[[{_name(cue.speaker)}]]"


def _name(speaker: str) -> str:
    return one_line(speaker).translate(NOT_IN_NAMES)


def _flat(text: str) -> str:
    return text.replace("\n", " ")


def _lyrics_clock(time_ms: int) -> str:
    minutes, hundredths = divmod(round(time_ms / 10), 6000)
    return f"{minutes:02d}:{hundredths / 100:05.2f}"


def one_line(text: str) -> str:
    """Collapse white space and break up arrows (three hyphens in a row leave one behind)."""
    line = " ".join(text.split())
    while ARROW in line:
        line = line.replace(ARROW, "->")
    return line


@lru_cache(maxsize=2)  # most cues begin where another has ended
def _clock(time_ms: int, point: str) -> str:
    minutes, ms = divmod(time_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds, ms = divmod(ms, 1000)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{ms:03d}"
