"""Server-sent events (HTML standard 9.2.6) that carry JSON, read as they come. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Any

LINE_END = re.compile(rb"\r\n|\n|\r(?=.)", re.DOTALL)  # a last CR may be half of a CRLF


class EventStream:
    """Turns bytes, split anywhere, into the objects that the events hold.

    Comments, other fields, and data that is no JSON object are skipped.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Sequence[dict[str, Any]]:
        """Return the events that end in `piece`."""
        *lines, self._rest = LINE_END.split(self._rest + piece)
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytes) -> dict[str, Any] | None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
        if line:
            return None
        data, self._data = b"\n".join(self._data), []
        try:
            event = json.loads(data)
        except ValueError:
            return None
        return event if isinstance(event, dict) else None
