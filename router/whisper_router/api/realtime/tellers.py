"""What a live session tells → events of the Realtime API. Pure.

With turn detection each utterance is an item. Without it an item is what lies between two commits
of the client, however many utterances that is.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from whisper_router.api.realtime.config import LOGPROBS, TENTATIVE, SessionConfig
from whisper_router.api.realtime.items import Item, Items, new_id, new_item
from whisper_router.errors import RouterError
from whisper_router.live.events import (
    Cleared,
    Confirmed,
    Ended,
    Failed,
    Final,
    Lag,
    LiveEvent,
    SpeechStarted,
    SpeechStopped,
    Tentative,
)
from whisper_router.live.words import LiveWord

Json = dict[str, Any]

TRANSCRIPTION = "conversation.item.input_audio_transcription"
LEAST_PROBABILITY = 1e-6


class Teller(Protocol):
    """Turns what is heard into events, for one way of taking turns."""

    def tell(self, event: LiveEvent, config: SessionConfig, *, begin_s: float) -> Iterator[Json]:
        """Yield what to send. `begin_s` is where in the session's audio the event's time begins."""
        ...


class ByTurns:
    """The server finds the turns."""

    def __init__(self, items: Items, *, is_beta: bool) -> None:
        self._items, self._is_beta = items, is_beta
        self._item = new_item()

    def tell(self, event: LiveEvent, config: SessionConfig, *, begin_s: float) -> Iterator[Json]:
        """Yield what to send."""
        item = self._item
        match event:
            case SpeechStarted():
                item = self._item = new_item()
                at_ms = _ms(event.at_s + begin_s)
                yield server_event(
                    "input_audio_buffer.speech_started", audio_start_ms=at_ms, item_id=item.id
                )
            case SpeechStopped():
                at_ms = _ms(event.known_at_s + begin_s)
                yield server_event(
                    "input_audio_buffer.speech_stopped", audio_end_ms=at_ms, item_id=item.id
                )
            case Ended():
                item.start_s, item.end_s = event.start_s + begin_s, event.end_s + begin_s
                yield from committed(item, self._items, is_beta=self._is_beta)
            case Confirmed():
                yield from delta(item, event.words, config)
            case Final():
                item.language = event.language
                yield from completed(item, config)
            case Failed():
                item.error = event.error
                yield from failed(item, event.error)
            case Cleared():
                yield server_event("input_audio_buffer.cleared")
            case Tentative() | Lag():
                yield from tentative(item, event, config)


class ByCommits:
    """The client says where an item ends. Its id is known before, for the deltas."""

    def __init__(self, items: Items, *, is_beta: bool) -> None:
        self._items, self._is_beta = items, is_beta
        self._awaited: deque[Item] = deque()  # committed, and not complete
        self._open: Item | None = None

    def commit(self, start_s: float, end_s: float) -> Iterator[Json]:
        """Take note of a commit, which `reached` is to be called for; yield what to send."""
        item, self._open = self._open or new_item(), None
        item.start_s, item.end_s = start_s, end_s
        self._awaited.append(item)
        yield from committed(item, self._items, is_beta=self._is_beta)

    def clear(self) -> None:
        """Take note that what was said since the last commit is to be forgotten."""
        item, self._open = self._open or new_item(), None
        item.is_deleted = True
        self._awaited.append(item)

    def reached(self, config: SessionConfig) -> Iterator[Json]:
        """Yield what to send once all that was said before the oldest commit is recognised."""
        item = self._awaited.popleft()
        if item.error is None:
            yield from completed(item, config)
        else:
            yield from failed(item, item.error)

    def tell(self, event: LiveEvent, config: SessionConfig, *, begin_s: float) -> Iterator[Json]:
        """Yield what to send."""
        del begin_s
        match event:
            case Confirmed():
                yield from delta(self._current, event.words, config)
            case Final():
                self._current.language = event.language or self._current.language
            case Failed():
                self._current.error = event.error
            case Cleared():
                self._awaited.popleft()
                yield server_event("input_audio_buffer.cleared")
            case Tentative() | Lag():
                yield from tentative(self._current, event, config)

    @property
    def _current(self) -> Item:
        """The item that is being recognised."""
        if self._awaited:
            return self._awaited[0]
        self._open = self._open or new_item()
        return self._open


def server_event(kind: str, **fields: object) -> Json:
    """Return an event of the server, with an id of its own."""
    return {"type": kind, "event_id": new_id("event"), **fields}


def committed(item: Item, items: Items, *, is_beta: bool) -> Iterator[Json]:
    """Yield that an item's audio is complete."""
    items.commit(item)
    place = {"previous_item_id": item.previous_id}
    yield server_event("input_audio_buffer.committed", item_id=item.id, **place)
    for kind in ("created",) if is_beta else ("added", "done"):
        yield server_event(f"conversation.item.{kind}", item=item.body(), **place)


def delta(item: Item, words: Sequence[LiveWord], config: SessionConfig) -> Iterator[Json]:
    """Yield words that follow those of the item and never change."""
    text = item.add(words)
    if text and not item.is_deleted:
        found = logprobs(words) if config.includes(LOGPROBS) else None
        yield _of(item, "delta", delta=text, logprobs=found)


def completed(item: Item, config: SessionConfig) -> Iterator[Json]:
    """Yield all that was said in the item."""
    item.is_done = True
    found = logprobs(item.words) if config.includes(LOGPROBS) else None
    item.words = []
    if not item.is_deleted:
        yield _of(
            item,
            "completed",
            transcript=item.text,
            usage={"type": "duration", "seconds": round(item.end_s - item.start_s, 3)},
            logprobs=found,
            languages=[{"code": item.language}] if item.language else [],
        )


def failed(item: Item, error: RouterError) -> Iterator[Json]:
    """Yield that the item could not be recognised."""
    item.is_done, item.words = True, []
    if not item.is_deleted:
        body = error.envelope()["error"]
        yield _of(item, "failed", error=body)


def tentative(item: Item, event: Tentative | Lag, config: SessionConfig) -> Iterator[Json]:
    """Yield what may change, and how late the server is, where the client asks for that."""
    if not config.includes(TENTATIVE) or item.is_deleted:
        return
    if isinstance(event, Tentative):
        yield _of(item, "tentative", text=event.text)
    else:
        yield server_event(
            "input_audio_buffer.lag", lag_s=round(event.lag_s, 3), step_s=event.step_s
        )


def logprobs(words: Sequence[LiveWord]) -> Sequence[Json]:
    """Return the words with their natural-log probabilities: a word is what we call a token."""
    return [
        {
            "token": word.text,
            "logprob": round(math.log(max(word.probability, LEAST_PROBABILITY)), 6),
            "bytes": list(word.text.encode()),
        }
        for word in words
    ]


def _of(item: Item, kind: str, **fields: object) -> Json:
    return server_event(f"{TRANSCRIPTION}.{kind}", item_id=item.id, content_index=0, **fields)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
