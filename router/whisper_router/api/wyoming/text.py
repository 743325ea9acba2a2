"""What was heard, as Wyoming's streaming events tell it. Pure.

In the order of the protocol's description: `transcript-start`, `transcript-chunk` as often as words
are confirmed, `transcript` with all text, `transcript-stop`. Clients that do not stream wait for
the `transcript` and take no notice of the others.
"""

from collections.abc import Sequence

from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.event import Eventable

from whisper_router.live.events import Confirmed, Final, LiveEvent


class StreamedText:
    """Collects the events of one session."""

    def __init__(self, language: str | None) -> None:
        """`language` None: it is detected."""
        self._language = language
        self._text = ""
        self._utterance = 0
        self._has_started = False

    def take(self, event: LiveEvent) -> Sequence[Eventable]:
        """Take an event; return what is to be told of it."""
        if isinstance(event, Final):
            self._language = event.language or self._language
        if not isinstance(event, Confirmed):
            return []
        text = "".join(word.text for word in event.words)
        if event.utterance != self._utterance and not text.startswith(" "):
            text = f" {text}"
        self._utterance = event.utterance
        text = text if self._text else text.lstrip()
        self._text += text
        return [*self._start(), TranscriptChunk(text=text)] if text else []

    def end(self) -> Sequence[Eventable]:
        """Return what ends the stream: the chunks joined are the transcript."""
        transcript = Transcript(text=self._text, language=self._language)
        return [*self._start(), transcript, TranscriptStop()]

    def _start(self) -> Sequence[Eventable]:
        if self._has_started:
            return []
        self._has_started = True
        return [TranscriptStart(language=self._language)]
