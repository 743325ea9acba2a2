"""The items of a conversation: what was said in each turn, and its audio for a while. Pure."""

import base64
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from whisper_router.errors import InvalidParameter, RouterError
from whisper_router.live.words import LiveWord

Json = dict[str, Any]

MAX_ITEMS = 2000
"""A conversation that has more forgets the oldest ones."""
MAX_AUDIO_BYTES = 4 << 20
"""So much of the newest audio can be retrieved: 87 s of 24 kHz samples, nine minutes of G.711."""


@dataclass(slots=True, kw_only=True)
class Item:
    """One turn. Times are seconds of the session's audio. `text` grows with what is confirmed."""

    id: str
    previous_id: str | None = None
    start_s: float = 0.0
    end_s: float = 0.0
    text: str = ""
    words: list[LiveWord] = field(default_factory=list)
    error: RouterError | None = None
    language: str | None = None
    is_done: bool = False
    is_deleted: bool = False

    def add(self, words: Sequence[LiveWord]) -> str:
        """Add confirmed words; return the delta, which follows the text there is."""
        self.words += words
        delta = "".join(word.text for word in words)
        if not self.text:
            delta = delta.lstrip()
        self.text += delta
        return delta

    def body(self, audio: bytes | None = None, *, with_audio: bool = False) -> Json:
        """Return the item as events hold it."""
        content: Json = {"type": "input_audio", "transcript": self.text if self.is_done else None}
        if with_audio:
            content["audio"] = None if audio is None else base64.b64encode(audio).decode()
        return {
            "id": self.id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [content],
        }


class Items:
    """All items that were committed, in their order."""

    def __init__(self) -> None:
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._last: str | None = None

    def commit(self, item: Item) -> None:
        """Let the item follow those committed before."""
        item.previous_id, self._last = self._last, item.id
        self._items[item.id] = item
        if len(self._items) > MAX_ITEMS:
            self._items.popitem(last=False)

    def get(self, item_id: object) -> Item:
        """Return an item. Raises InvalidParameter (`item_not_found`)."""
        if not isinstance(item_id, str) or item_id not in self._items:
            raise InvalidParameter(
                f"Item with item_id '{item_id}' not found.", param="item_id", code="item_not_found"
            )
        return self._items[item_id]

    def delete(self, item_id: object) -> Item:
        """Forget an item; nothing more is told of it. Raises InvalidParameter as `get`."""
        item = self.get(item_id)
        item.is_deleted = True
        del self._items[item.id]
        return item


def new_item() -> Item:
    """Return an item that is not committed yet."""
    return Item(id=new_id("item"))


def new_id(kind: str) -> str:
    """Return an id that nothing else has."""
    return f"{kind}_{uuid.uuid4().hex[:21]}"


class AudioLog:
    """The newest audio of a session as the client sent it."""

    def __init__(self, bytes_per_s: int, *, at_s: float = 0.0) -> None:
        """`at_s` is where in the session's audio the first byte will lie."""
        self._bytes_per_s, self._at_s = bytes_per_s, at_s
        self._data, self._begin = bytearray(), 0

    @property
    def end_s(self) -> float:
        """Where the audio ends now."""
        return self._at_s + (self._begin + len(self._data)) / self._bytes_per_s

    def append(self, data: bytes) -> None:
        """Add audio, and forget the oldest."""
        self._data += data
        if len(self._data) > 2 * MAX_AUDIO_BYTES:
            cut = len(self._data) - MAX_AUDIO_BYTES & ~1
            del self._data[:cut]
            self._begin += cut

    def read(self, start_s: float, end_s: float) -> bytes | None:
        """Return the audio between two times; None: it is forgotten."""
        start, end = (
            round((at_s - self._at_s) * self._bytes_per_s / 2) * 2 - self._begin
            for at_s in (start_s, end_s)
        )
        if start < 0 or end > len(self._data) + 2:
            return None
        return bytes(self._data[start:end])
