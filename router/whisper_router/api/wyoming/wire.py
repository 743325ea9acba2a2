"""Events on a connection, none of them larger than it may be.

The library's own reader takes as many bytes as a header announces, and keeps quiet about what it
does not understand. The classes of events are the library's.
"""

import asyncio
import json
import select
from collections.abc import Mapping
from typing import Any, Final

import structlog
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event

MAX_HEADER_BYTES: Final = 64 << 10
MAX_DATA_BYTES: Final = 256 << 10
MAX_PAYLOAD_BYTES: Final = 4 << 20
"""Two minutes of 16 kHz mono audio; clients send a few milliseconds."""
DRAIN_S: Final = 1.0
"""For how long what a refused client still sends is read: a connection that is closed with unread
bytes is reset, and the client would not see the reason."""

log = structlog.get_logger(__name__)


class BadEvent(Exception):
    """What came is no event of ours. The message is a sentence for whoever sent it."""


class Wire:
    """One connection. Several tasks may send; one reads."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, write_timeout_s: float
    ) -> None:
        """The reader's limit is to be `MAX_HEADER_BYTES`."""
        self._reader, self._writer = reader, writer
        self._write_timeout_s = write_timeout_s
        self._poll = select.poll()
        # Tells that the client has closed even while its last bytes are unread. Linux only;
        # elsewhere that shows once they are read.
        self._poll.register(
            writer.get_extra_info("socket").fileno(), getattr(select, "POLLRDHUP", 0)
        )

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed the connection, be all that it sent read or not."""
        return self._writer.is_closing() or bool(self._poll.poll(0))

    async def read(self) -> Event | None:
        """Return the next event; None: the client is gone.

        Raises:
            BadEvent: it is none, or larger than it may be.
        """
        try:
            return await self._read()
        except (OSError, asyncio.IncompleteReadError):
            return None
        except asyncio.LimitOverrunError as error:
            raise BadEvent(f"An event's header has at most {MAX_HEADER_BYTES} bytes.") from error

    async def send(self, item: Eventable) -> None:
        """Send an event; who does not read it in time is cut off.

        Raises:
            ConnectionError: the client is gone, or was cut off.
        """
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await async_write_event(_encodable(item.event()), self._writer)
        except OSError as error:
            if isinstance(error, TimeoutError):
                log.info("wyoming_client_does_not_read", timeout_s=self._write_timeout_s)
            self.abort()
            raise ConnectionAbortedError("The client is gone.") from error

    async def refuse(self, reason: str, code: str) -> None:
        """Say why the connection ends, and let the client see it.

        Raises:
            ConnectionError: the client is gone, or was cut off.
        """
        await self.send(Error(text=reason, code=code))
        try:
            self._writer.write_eof()
            async with asyncio.timeout(DRAIN_S):
                while await self._reader.read(MAX_HEADER_BYTES):
                    pass
        except OSError:  # too late, or gone: it is closed next
            pass

    async def close(self) -> None:
        """Close the connection once what was sent is read, or will not be."""
        self._writer.close()
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await self._writer.wait_closed()
        except OSError:
            self.abort()

    def hang_up(self) -> None:
        """Read nothing more; what was sent may still be read."""
        self._writer.close()

    def abort(self) -> None:
        """End the connection at once, whatever is unread."""
        self._writer.transport.abort()

    async def _read(self) -> Event:
        head = _object(await self._reader.readuntil(b"\n"), "An event's header")
        kind, data = head.get("type"), head.get("data") or {}
        if not isinstance(kind, str) or not isinstance(data, dict):
            raise BadEvent("An event has a 'type', a string, and may have 'data', an object.")
        data_bytes = _length(head, "data_length", MAX_DATA_BYTES)
        payload_bytes = _length(head, "payload_length", MAX_PAYLOAD_BYTES)
        if data_bytes:
            data |= _object(await self._reader.readexactly(data_bytes), "An event's data")
        payload = await self._reader.readexactly(payload_bytes) if payload_bytes else None
        return Event(type=kind, data=data, payload=payload)


def _encodable(event: Event) -> Event:
    """Let no lone surrogate, which JSON may hold and UTF-8 cannot, keep an answer from its way."""
    data = {
        key: value.encode(errors="replace").decode() if isinstance(value, str) else value
        for key, value in event.data.items()
    }
    return Event(type=event.type, data=data, payload=event.payload)


def _object(text: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadEvent(f"{what} is one line of JSON.") from error
    if not isinstance(found, dict):
        raise BadEvent(f"{what} is a JSON object.")
    return found


def _length(head: Mapping[str, Any], name: str, most: int) -> int:
    value = head.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise BadEvent(f"An event's '{name}' is a number from 0 to {most}.")
    return value
