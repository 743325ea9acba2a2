"""A multipart/form-data parser without I/O: bytes in, events out (RFC 2046 5.1, RFC 7578).

It holds at most one delimiter, or one part's headers, beyond what it was fed.

Ours, because the others were tried: aiohttp's reader waits for the network inside a part and holds
small parts whole; the library `multipart` (2.0.1) refuses a file in which the boundary is followed
by other bytes, and its answers to a preamble depend on how the body was cut.
"""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto

MAX_PREAMBLE_BYTES = 64 * 1024
MAX_PART_HEADERS_BYTES = 16 * 1024
MAX_PADDING_BYTES = 256
_LINE_END = b"\r\n"


class MultipartError(Exception):
    """The bytes are not a multipart body. The message says why, for the person who sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartBegin:
    """A part's headers, names in lower case. `size_bytes` is what they took on the wire."""

    headers: Mapping[str, str]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PartData:
    """Some of the current part's content, never empty."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The current part is complete."""


Event = PartBegin | PartData | PartEnd


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class MultipartParser:
    """Feed it the body in pieces of any size, then call `finish`."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = _LINE_END + b"--" + boundary
        self._buffer = bytearray(_LINE_END)  # the first delimiter may begin the body
        self._state = _State.PREAMBLE
        self._skip = 0  # bytes at the head of the buffer that are not content
        self._skipped_bytes = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what `data` completes. Exhaust the iterator before the next call.

        Raises:
            MultipartError: the body cannot be a multipart one.
        """
        if self._state is _State.EPILOGUE:
            return
        self._buffer += data
        progress = True
        while progress:
            match self._state:
                case _State.HEADERS:
                    event = self._read_headers()
                    progress = event is not None
                    if event is not None:
                        yield event
                case _State.EPILOGUE:
                    self._buffer.clear()
                    return
                case _:
                    progress = yield from self._read_content()

    def finish(self) -> None:
        """Check that the body was complete.

        Raises:
            MultipartError: it was not.
        """
        if self._state is _State.PREAMBLE:
            raise MultipartError("the boundary named in Content-Type does not occur in it")
        if self._state is not _State.EPILOGUE:
            raise MultipartError("it ends before the closing boundary")

    def _read_content(self) -> Generator[Event, None, bool]:
        """Yield content up to the next delimiter; return whether to go on with this buffer."""
        index = self._buffer.find(self._delimiter)
        if index < 0:
            yield from self._take(self._safe_length())
            return False
        after = self._after_delimiter(index + len(self._delimiter))
        if after is None:
            yield from self._take(index)
            return False
        if after < 0:  # the boundary is only the beginning of something longer: content
            yield from self._take(index + len(self._delimiter))
            return True
        yield from self._take(index)
        if self._state is _State.BODY:
            yield PartEnd()
        return self._pass_delimiter(after - index)

    def _pass_delimiter(self, length: int) -> bool:
        closing = self._buffer[length - 2 : length] == b"--"
        self._state = _State.EPILOGUE if closing else _State.HEADERS
        # The line end stays: it also ends an empty block of headers.
        del self._buffer[: length if closing else length - len(_LINE_END)]
        return True

    def _after_delimiter(self, index: int) -> int | None:
        """Return where the delimiter line ends; -1: it is none; None: more bytes are needed.

        RFC 2046: white space may follow on the line; two hyphens close the body.
        """
        tail = bytes(self._buffer[index : index + MAX_PADDING_BYTES])
        if tail.startswith(b"--"):
            return index + 2
        rest = tail.lstrip(b" \t")
        if rest.startswith(_LINE_END):
            return index + len(tail) - len(rest) + len(_LINE_END)
        if rest in {b"", b"\r"} and len(tail) < MAX_PADDING_BYTES:
            return None
        return None if tail == b"-" else -1

    def _safe_length(self) -> int:
        """Return how much of the buffer cannot be the beginning of a delimiter."""
        buffer = self._buffer
        held = buffer.rfind(b"\r", max(0, len(buffer) - len(self._delimiter) + 1))
        return len(buffer) if held < 0 else held

    def _take(self, length: int) -> Iterator[Event]:
        """Remove `length` bytes from the buffer; yield them if they are content.

        A part without content may end its headers with the delimiter's own line end, which is why
        that line end is still at the head of the buffer then.
        """
        skip = min(self._skip, length)
        if self._state is _State.BODY:
            if length > skip:
                yield PartData(bytes(memoryview(self._buffer)[skip:length]))
        else:
            self._skipped_bytes += length
            if self._skipped_bytes > MAX_PREAMBLE_BYTES:
                raise MultipartError("the boundary named in Content-Type does not begin it")
        self._skip -= skip
        del self._buffer[:length]

    def _read_headers(self) -> PartBegin | None:
        end = self._buffer.find(_LINE_END * 2)
        if end > MAX_PART_HEADERS_BYTES or (end < 0 and len(self._buffer) > MAX_PART_HEADERS_BYTES):
            raise MultipartError(f"a part has more than {MAX_PART_HEADERS_BYTES} bytes of headers")
        if end < 0:
            return None
        block = bytes(self._buffer[:end])
        del self._buffer[: end + len(_LINE_END)]
        self._state, self._skip = _State.BODY, len(_LINE_END)
        return PartBegin(headers=_parse_headers(block), size_bytes=len(block))


def _parse_headers(block: bytes) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    text = block.decode("utf-8", errors="replace")
    unfolded = text.replace("\r\n ", " ").replace("\r\n\t", " ")
    for line in filter(None, unfolded.split("\r\n")):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise MultipartError("a part has a header line without a name")
        headers[name.strip().lower()] = value.strip()
    return headers
