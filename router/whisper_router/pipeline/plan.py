"""Speech → chunks, as it is found. Pure.

Whisper looks at windows of 30 s. A chunk is at most one window, cut in silence, so that no word
is split and long silences are never decoded: Whisper invents text there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_router.audio.media import Found, Span
from whisper_router.domain import SAMPLE_RATE_HZ

MAX_CHUNK_S = 30.0
"""Whisper's window (Radford et al. 2022, section 2.2)."""

OVERLAP_S = 3.0
"""What two chunks share where 30 s of speech hold no pause: room for several whole words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChunk:
    """Samples `[start, end)` at 16 kHz.

    The first `overlap` samples belong to the chunk before it as well. `is_cut` tells that the next
    chunk shares the last ones of this in turn.
    """

    start: int
    end: int
    overlap: int = 0
    is_cut: bool = False

    @property
    def duration_s(self) -> float:
        """How long the chunk is, in seconds."""
        return (self.end - self.start) / SAMPLE_RATE_HZ

    @property
    def overlap_s(self) -> float:
        """How much of it the chunk before has as well, in seconds."""
        return self.overlap / SAMPLE_RATE_HZ


@dataclass(slots=True)
class _Open:
    """A chunk that may still grow."""

    start_s: float
    end_s: float
    overlap_s: float = 0.0


class Planner:
    """Turns what was found into chunks; a chunk is planned as soon as nothing can change it.

    Neighbouring stretches of speech share a chunk while they fit in and no silence between them is
    longer than `max_silence_s`. A stretch longer than 30 s is cut in the longest pause of the
    second half of these, else in the last one of the first half, and only where they hold none,
    through its speech, with an overlap. The chunks do not depend on how
    the audio was split into pieces: each decision waits for all that it rests on.
    """

    def __init__(self, *, max_silence_s: float) -> None:
        self._max_silence_s = max_silence_s
        self._open: _Open | None = None
        self._rest: _Open | None = None  # the part not planned yet of a stretch that goes on
        self._pauses: list[Span] = []
        self._planned: list[PlannedChunk] = []
        self.settled_s = 0.0
        """Everything before is planned, or silence."""

    def add(self, found: Found) -> Sequence[PlannedChunk]:
        """Return the chunks that are settled by what was found now, in order."""
        self._pauses += found.pauses
        for span in found.spans:
            self._take(span)
        if found.going_on is not None:
            self._look_at(found.going_on)
        else:
            self._wait_until(found.quiet_until_s)
        self._pauses = [pause for pause in self._pauses if pause.end_s > self.settled_s]
        return self._given()

    def end(self) -> Sequence[PlannedChunk]:
        """Return what is left when no more is to be found."""
        self._close()
        return self._given()

    def _given(self) -> Sequence[PlannedChunk]:
        given, self._planned = self._planned, []
        return given

    def _take(self, span: Span) -> None:
        """Plan with a stretch whose end is known."""
        rest = self._rest or _Open(span.start_s, span.end_s)
        self._rest = None
        rest.end_s = span.end_s
        if self._open is not None and self._joins(rest.start_s, rest.end_s):
            self._open.end_s = rest.end_s
            return
        self._close()
        self._open = self._shortened(rest)

    def _look_at(self, going_on: Span) -> None:
        """Plan what can be planned of a stretch that ends at `going_on.end_s` or later."""
        rest = self._rest or _Open(going_on.start_s, going_on.end_s)
        rest.end_s = going_on.end_s
        if self._open is not None and self._joins(rest.start_s, rest.end_s):
            return
        self._close()
        self._rest = self._shortened(rest)

    def _wait_until(self, quiet_until_s: float) -> None:
        """Close the open chunk if nothing that begins at `quiet_until_s` or later can join it."""
        if self._open is not None and not self._joins(quiet_until_s, quiet_until_s):
            self._close()
        if self._open is None:
            self.settled_s = max(self.settled_s, quiet_until_s)

    def _joins(self, start_s: float, end_s: float) -> bool:
        chunk = self._open
        return (
            chunk is not None
            and end_s - chunk.start_s <= MAX_CHUNK_S
            and start_s - chunk.end_s <= self._max_silence_s
        )

    def _close(self) -> None:
        if self._open is not None:
            self._plan(self._open)
            self._open = None

    def _shortened(self, speech: _Open) -> _Open:
        """Plan pieces of `speech` until what is left fits into a chunk; return that."""
        while speech.end_s - speech.start_s > MAX_CHUNK_S:
            pause = self._best_pause(speech.start_s)
            if pause is None:
                cut_s, overlap_s = speech.start_s + MAX_CHUNK_S, OVERLAP_S
            else:
                cut_s, overlap_s = (pause.start_s + pause.end_s) / 2, 0.0
            self._plan(_Open(speech.start_s, cut_s, speech.overlap_s), is_cut=pause is None)
            speech = _Open(cut_s - overlap_s, speech.end_s, overlap_s)
        return speech

    def _best_pause(self, start_s: float) -> Span | None:
        """Return the longest pause in the second half of a window, or the last in the first."""
        middle_s, end_s = start_s + MAX_CHUNK_S / 2, start_s + MAX_CHUNK_S
        inside = [
            replace(pause, end_s=min(pause.end_s, end_s))
            for pause in self._pauses
            if start_s < pause.start_s < end_s
        ]
        late = [pause for pause in inside if pause.start_s >= middle_s]
        if late:
            return max(late, key=lambda pause: (pause.end_s - pause.start_s, pause.start_s))
        return inside[-1] if inside else None

    def _plan(self, chunk: _Open, *, is_cut: bool = False) -> None:
        self._planned.append(
            PlannedChunk(
                start=_samples(chunk.start_s),
                end=_samples(chunk.end_s),
                overlap=_samples(chunk.overlap_s),
                is_cut=is_cut,
            )
        )
        self.settled_s = chunk.end_s


def whole(duration_s: float) -> PlannedChunk:
    """Return everything as one chunk: what is decoded when speech is not looked for."""
    return PlannedChunk(start=0, end=_samples(duration_s))


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE_HZ)
