"""What a live session has told so far, as faster-whisper-server's WebSocket wrote it. Pure.

Every message holds all confirmed text of the session, not what is new in it.
"""

import math
from collections.abc import Sequence

from whisper_router.api.formats import Json, verbose_body
from whisper_router.api.forms import Granularity, ResponseFormat, ResponseOptions
from whisper_router.api.live_order import LiveOrder
from whisper_router.api.wire import encode_json
from whisper_router.domain import Segment, Task, Transcript, Word
from whisper_router.live.events import Confirmed, Final, Lag, LiveEvent, Tentative
from whisper_router.live.words import LiveWord

VERBOSE = ResponseOptions(
    response_format=ResponseFormat.VERBOSE_JSON, granularities=frozenset(Granularity)
)
LEAST_PROBABILITY = 1e-6


class LiveText:
    """Collects the events of one session."""

    def __init__(self, order: LiveOrder) -> None:
        self._order = order
        self._segments: list[Segment] = []
        self._words: list[LiveWord] = []  # of the utterance that goes on
        self._tentative, self._lag_s = "", 0.0
        self._language = order.request.language

    def take(self, event: LiveEvent) -> bool:
        """Take an event; return whether there is something to tell."""
        match event:
            case Confirmed():
                self._words += event.words
                self._tentative = ""  # what of it is still so is told again
                return True
            case Final():
                self._language = event.language or self._language
                if event.words:
                    self._segments.append(_segment(event.words))
                was_shown, self._words, self._tentative = bool(self._tentative), [], ""
                return self._order.interim and was_shown
            case Tentative():
                self._tentative = event.text
                return self._order.interim
            case Lag():
                self._lag_s = event.lag_s
                return self._order.interim
        return False

    def message(self, duration_s: float) -> str:
        """Return all that was told, in the format that was asked for."""
        transcript = Transcript(
            task=Task.TRANSCRIBE,
            language=self._language,
            duration_s=duration_s,
            segments=[*self._segments, *([_segment(self._words)] if self._words else [])],
        )
        if self._order.response_format is ResponseFormat.TEXT:
            return transcript.text
        body: Json = {"text": transcript.text}
        if self._order.response_format is ResponseFormat.VERBOSE_JSON:
            body = verbose_body(transcript, VERBOSE)
        if self._order.interim:
            body |= {"tentative": self._tentative, "lag": round(self._lag_s, 3)}
        return encode_json(body).decode()


def _segment(words: Sequence[LiveWord]) -> Segment:
    """Return an utterance, or what is confirmed of it, as one segment."""
    logprobs = [math.log(max(word.probability, LEAST_PROBABILITY)) for word in words]
    text = "".join(word.text for word in words)
    return Segment(
        start_s=words[0].start_s,
        end_s=words[-1].end_s,
        text=text if text.startswith(" ") else f" {text}",
        words=[
            Word(
                text=word.text.strip(),
                start_s=word.start_s,
                end_s=word.end_s,
                probability=word.probability,
            )
            for word in words
        ],
        avg_logprob=sum(logprobs) / len(logprobs),
    )
