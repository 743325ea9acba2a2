"""Reads a multipart upload: the file goes to disk as it arrives, the fields stay in memory."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import replace

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from whisper_router.audio.form import (
    FILE_PART,
    WRITE_BYTES,
    Form,
    Upload,
    UploadLimits,
    storage_full,
)
from whisper_router.audio.multipart import MultipartError, MultipartParser
from whisper_router.audio.parts import header_parameters
from whisper_router.audio.spool import Spool
from whisper_router.errors import InvalidRequest, RouterError, UploadTimeout, UploadTooLarge

__all__ = [
    "IncomingUpload",
    "Upload",
    "UploadLimits",
    "drain",
    "incoming_upload",
    "read_body",
    "spool_upload",
]

STRETCH_S = 1.0
MAX_BOUNDARY_BYTES = 70  # RFC 2046 5.1.1
_CUT = (web.RequestPayloadError, ConnectionError, HttpProcessingError)


class IncomingUpload:
    """A multipart/form-data body that is read on demand; its file goes to disk as it arrives."""

    def __init__(
        self, form: Form, parser: MultipartParser, chunks: AsyncGenerator[bytes, None]
    ) -> None:
        self.form = form
        self._parser, self._chunks = parser, chunks

    async def field(self, name: str) -> str | None:
        """Read on until a text field of this name is there; None: it never comes.

        Raises:
            RouterError: as `spool_upload`.
        """
        while (value := dict(self.form.fields).get(name)) is None and await self.read_on():
            pass
        return value

    async def complete(self) -> Upload:
        """Read to the end and return the form.

        Raises:
            RouterError: as `spool_upload`.
        """
        while await self.read_on():
            pass
        return self.form.upload()

    async def read_on(self) -> bool:
        """Take what has arrived, or wait for more; False at the end.

        Raises:
            RouterError: as `spool_upload`.
        """
        chunk = await anext(self._chunks, None)
        try:
            if chunk is None:
                self._parser.finish()
                return False
            for event in self._parser.feed(chunk):
                await self.form.take(event)
        except MultipartError as error:
            raise InvalidRequest(f"The multipart body cannot be read: {error}.") from error
        return True


@asynccontextmanager
async def incoming_upload(
    request: web.BaseRequest, spool: Spool, limits: UploadLimits, *, file_part: str = FILE_PART
) -> AsyncIterator[IncomingUpload]:
    """Begin to read a body; see `spool_upload`. `file_part` is the name of the file's part."""
    form = Form(spool, limits, file_part=file_part)
    try:
        parser = MultipartParser(_boundary(request))
        await _check_length(request, spool, limits)
        async with aclosing(_chunks(request, limits)) as chunks:
            yield IncomingUpload(form, parser, chunks)
    finally:
        await form.discard()


@asynccontextmanager
async def spool_upload(
    request: web.BaseRequest, spool: Spool, limits: UploadLimits
) -> AsyncIterator[Upload]:
    """Read a multipart/form-data body; the part named `file` is on disk until the block ends.

    Parts come in any order. A part with a file name that is neither `file` nor text is ignored.

    Raises:
        InvalidRequest: the body is not multipart, is broken or was cut short.
        InvalidParameter: there are two files, or a field is not text.
        UnsupportedFormat: the extension of the file's name is not an accepted one.
        UploadTooLarge: the body, or the fields in it, are over the limit.
        UploadTimeout: the client paused for too long.
        StorageFull: the disk is full.
    """
    async with incoming_upload(request, spool, limits) as incoming:
        yield await incoming.complete()


async def read_body(request: web.BaseRequest, limits: UploadLimits) -> bytes:
    """Return a body that is no form, as large as the fields of one may be.

    Raises:
        InvalidRequest: it was cut short.
        UploadTooLarge: it is over the limit.
        UploadTimeout: the client paused for too long.
    """
    most = replace(limits, max_upload_bytes=limits.max_field_bytes)
    body = bytearray()
    try:
        async with aclosing(_chunks(request, most)) as chunks:
            async for chunk in chunks:
                body += chunk
    except UploadTooLarge as error:
        message = f"The body is larger than {limits.max_field_bytes} bytes."
        raise UploadTooLarge(message) from error
    return bytes(body)


async def drain(
    request: web.BaseRequest, *, limit_bytes: int, timeout_s: float, least_bytes_s: float = 0.0
) -> bool:
    """Read and drop what is left of the body; return whether all of it was read.

    Given up when in a stretch of `STRETCH_S` less than `least_bytes_s` came in a second.

    For early errors: closing a connection with unread bytes resets it, and the client then never
    sees the answer. Never raises for what the client does.
    """
    left, stretch_s = limit_bytes, STRETCH_S if least_bytes_s else timeout_s
    try:
        async with asyncio.timeout(timeout_s):
            while left > 0 and not request.content.at_eof():
                before = left
                with suppress(TimeoutError):
                    async with asyncio.timeout(stretch_s):
                        while left > 0 and (data := await request.content.readany()):
                            left -= len(data)
                if left > 0 and before - left < least_bytes_s * STRETCH_S:
                    break
    except (TimeoutError, *_CUT):
        return False
    return request.content.at_eof()


def _boundary(request: web.BaseRequest) -> bytes:
    content_type = request.headers.get(hdrs.CONTENT_TYPE, "")
    mime = content_type.partition(";")[0].strip().lower()
    if mime != "multipart/form-data":
        shown = f"'{mime[:80]}'" if mime else "nothing"
        raise InvalidRequest(f"The body must be multipart/form-data; Content-Type says {shown}.")
    boundary = header_parameters(content_type).get("boundary", "")
    if not 0 < len(boundary) <= MAX_BOUNDARY_BYTES or not boundary.isascii():
        raise InvalidRequest("The Content-Type header names no valid multipart boundary.")
    return boundary.encode()


async def _check_length(request: web.BaseRequest, spool: Spool, limits: UploadLimits) -> None:
    length = request.content_length
    if length is None:
        return
    if length > limits.max_upload_bytes:
        raise _too_large(limits, f"{length} bytes announced")
    if length > WRITE_BYTES and length > await asyncio.to_thread(spool.free_bytes):
        raise storage_full()


async def _chunks(request: web.BaseRequest, limits: UploadLimits) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, within the limits."""
    read_bytes, pace = 0, _Pace(limits)
    while True:
        try:
            async with asyncio.timeout(limits.idle_timeout_s):
                with pace.waiting():
                    chunk = await request.content.readany()
        except TimeoutError as error:
            raise UploadTimeout(
                f"No data came for {limits.idle_timeout_s:g} s; the upload was given up."
            ) from error
        except _CUT as error:
            raise InvalidRequest("The body was cut short.") from error
        if not chunk:
            return
        pace.check(len(chunk))
        read_bytes += len(chunk)
        if read_bytes > limits.max_upload_bytes:
            raise _too_large(limits, f"{read_bytes} bytes read")
        yield chunk


class _Pace:
    """Ends uploads that trickle: a byte now and then is no pause, and would never end.

    Only the time counts in which the client is waited for, and each stretch of it for itself: who
    was quick before may not be slow for as long after. Pauses within `idle_timeout_s` are fine.
    """

    def __init__(self, limits: UploadLimits) -> None:
        self._stretch_s, self._rate = 2 * limits.idle_timeout_s, limits.min_bytes_s
        self._waited_s, self._came = 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        began_s = time.monotonic()
        yield
        self._waited_s += time.monotonic() - began_s

    def check(self, count: int) -> None:
        """Take note of bytes that came. Raises UploadTimeout."""
        self._came += count
        if self._waited_s < self._stretch_s:
            return
        if self._came < self._rate * self._waited_s:
            raise UploadTimeout(
                f"Only {self._came} bytes came in {self._waited_s:.0f} s; the upload was given up "
                "(server.upload_min_bytes_s)."
            )
        self._waited_s, self._came = 0.0, 0


def _too_large(limits: UploadLimits, seen: str) -> RouterError:
    return UploadTooLarge(
        f"Maximum content size limit ({limits.max_upload_bytes}) exceeded ({seen}). "
        "The limit is in bytes and is the setting 'server.max_upload_bytes'."
    )
