"""Collects the parts of a form: the file goes to disk, the fields stay in memory."""

import asyncio
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from whisper_router.audio.multipart import Event, PartBegin, PartData
from whisper_router.audio.parts import (
    PartInfo,
    TransferDecoder,
    decode_text,
    part_info,
    transfer_decoder,
)
from whisper_router.audio.spool import Spool, SpoolFile
from whisper_router.errors import (
    InvalidParameter,
    InvalidRequest,
    StorageFull,
    UnsupportedFormat,
    UploadTooLarge,
)

FILE_PART = "file"
CHARSET_PART = "_charset_"  # RFC 7578 4.6: names the charset of the other fields
RAW_AUDIO_TYPES = frozenset({"audio/pcm", "audio/l16"})
WRITE_BYTES = 512 * 1024
RELAYED_WRITE_BYTES = 64 * 1024
"""Who sends the file on while it arrives gets it in pieces of about this size."""
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What a request may send. `extensions` are in lower case, without a dot; None: any.

    `max_upload_bytes` counts the whole body, `max_field_bytes` everything in it but the file.
    `idle_timeout_s` is how long the client may pause; what came while it was waited for twice as
    long must have been `min_bytes_s` on average. `max_fields` counts parts that are no file.
    """

    max_upload_bytes: int
    idle_timeout_s: float
    extensions: frozenset[str] | None
    max_field_bytes: int = 1 << 20
    max_fields: int = 512
    min_bytes_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A complete form: its text fields in their order, and its file on disk."""

    fields: Sequence[tuple[str, str]]
    file: Path | None
    filename: str | None
    content_type: str | None
    size_bytes: int


class _Part(Protocol):
    """Takes the decoded content of one part."""

    async def add(self, data: bytes) -> None: ...

    async def end(self) -> None: ...


class Form:
    """Collects the parts of one body."""

    def __init__(self, spool: Spool, limits: UploadLimits, *, file_part: str = FILE_PART) -> None:
        self._spool = spool
        self._limits, self._file_part = limits, file_part
        self.fields: list[tuple[str, str]] = []
        """The text fields that are here, in their order."""
        self._field_bytes = self._parts = 0
        self._charset: str | None = None
        self.file: FilePart | None = None
        self._part: _Part = _IgnoredPart()
        self._decoder: TransferDecoder = transfer_decoder("binary")
        self._write_bytes = WRITE_BYTES

    async def take(self, event: Event) -> None:
        """Take the parser's next event."""
        if isinstance(event, PartBegin):
            self._begin(event)
        elif isinstance(event, PartData):
            await self._part.add(self._decoder.feed(event.data))
        else:
            await self._part.add(self._decoder.finish())
            await self._part.end()

    async def write_soon(self) -> None:
        """Have the file on disk as it arrives, for who reads it meanwhile."""
        self._write_bytes = RELAYED_WRITE_BYTES
        if self.file is not None:
            await self.file.write_soon(self._write_bytes)

    def upload(self) -> Upload:
        """Return the form, once all events were taken."""
        file = self.file
        return Upload(
            fields=tuple(self.fields),
            file=file.path if file else None,
            filename=file.info.filename if file else None,
            content_type=file.info.content_type if file else None,
            size_bytes=file.size_bytes if file else 0,
        )

    async def discard(self) -> None:
        """Delete the file."""
        if self.file is not None:
            # Shielded: a second cancellation must not take the work out of the thread's queue.
            loop = asyncio.get_running_loop()
            await asyncio.shield(loop.run_in_executor(None, self.file.discard))

    def count(self, added_bytes: int) -> None:
        """Note that everything but the file takes this much more of the body."""
        self._field_bytes += added_bytes
        if self._field_bytes > self._limits.max_field_bytes:
            raise UploadTooLarge(
                f"The form's fields are larger than {self._limits.max_field_bytes} bytes."
            )

    def add_field(self, info: PartInfo, content: bytes) -> None:
        """Keep a text field."""
        try:
            text = decode_text(content, info.charset or self._charset)
        except ValueError as error:
            message = f"'{info.name}' is not text: {error}."
            raise InvalidParameter(message, param=info.name) from error
        if info.name == CHARSET_PART:
            self._charset = text.strip()
        else:
            self.fields.append((info.name, text))

    def _begin(self, event: PartBegin) -> None:
        info = part_info(event.headers)
        self._decoder = transfer_decoder(info.transfer_encoding)
        if info.name == self._file_part:
            self._part = self.file = self._begin_file(info)
            return
        self.count(event.size_bytes)
        self._parts += 1
        if self._parts > self._limits.max_fields:
            raise InvalidRequest(f"The form has more than {self._limits.max_fields} fields.")
        self._part = _FieldPart(self, info) if _is_text(info) else _IgnoredPart()

    def _begin_file(self, info: PartInfo) -> "FilePart":
        if self.file is not None:
            raise InvalidParameter(
                f"Only one '{self._file_part}' part may be sent.", param=self._file_part
            )
        check_extension(info.filename, info.content_type, self._limits.extensions)
        return FilePart(self._spool.new_path(), info, write_bytes=self._write_bytes)


class FilePart(SpoolFile):
    """The uploaded file."""

    def __init__(self, path: Path, info: PartInfo, *, write_bytes: int) -> None:
        super().__init__(path)
        self.info = info
        self._write_bytes = write_bytes
        self.is_whole = False
        self._content = bytearray()

    async def add(self, data: bytes) -> None:
        """Take more of it; see `_Part`."""
        self._content += data
        if len(self._content) >= self._write_bytes:
            await self._flush()

    async def end(self) -> None:
        """Take note that this was all."""
        await self._flush()
        self.is_whole = True

    async def write_soon(self, write_bytes: int) -> None:
        """Write what is in memory, and keep no more than this there from now on."""
        self._write_bytes = write_bytes
        await self._flush()

    async def _flush(self) -> None:
        content, self._content = self._content, bytearray()
        await append(self, content)


class _FieldPart:
    """A text field."""

    def __init__(self, form: Form, info: PartInfo) -> None:
        self._form = form
        self._info = info
        self._content = bytearray()

    async def add(self, data: bytes) -> None:
        self._form.count(len(data))
        self._content += data

    async def end(self) -> None:
        self._form.add_field(self._info, bytes(self._content))


class _IgnoredPart:
    """A file that nobody asked for."""

    async def add(self, data: bytes) -> None:
        pass

    async def end(self) -> None:
        pass


def _is_text(info: PartInfo) -> bool:
    """Tell a field from a file; some clients give fields a file name and the type text/plain."""
    return info.filename is None or (info.content_type or "text/plain").startswith("text/")


def check_extension(
    filename: str | None, content_type: str | None, extensions: frozenset[str] | None
) -> None:
    """Accept a name with an accepted extension, a name without one, and raw audio of any name.

    What holds no letter is no extension (`memo 12.30`).

    Raises:
        UnsupportedFormat: the extension is not in `extensions`.
    """
    extension = Path((filename or "").strip()).suffix[1:].lower()
    mime = (content_type or "").partition(";")[0].strip().lower()
    if extensions is None or not any(character.isalpha() for character in extension):
        return
    if extension not in extensions and mime not in RAW_AUDIO_TYPES:
        raise UnsupportedFormat(
            f"Invalid file format. Supported formats: {sorted(extensions)}. The file's extension "
            f"is '{extension[:20]}'; the accepted ones are the setting 'audio.extensions'."
        )


async def append(file: SpoolFile, content: bytearray) -> None:
    """Write to a file in a thread.

    Raises:
        StorageFull: the disk is full.
    """
    try:
        await asyncio.to_thread(file.write, content)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise storage_full() from error
        raise


def storage_full() -> StorageFull:
    """Return the error for a disk without room for the upload."""
    return StorageFull("There is no room on the server's disk for this upload.")
