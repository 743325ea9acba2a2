"""An upload that is sent on to another server while it arrives, from its beginning if need be."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from whisper_router.audio.form import FilePart
from whisper_router.audio.upload import IncomingUpload
from whisper_router.domain import Task
from whisper_router.engine_api import FormField, FormFile
from whisper_router.errors import RouterError
from whisper_router.tasks import Tasks

PIECE_BYTES = 1 << 18
DECISIVE = frozenset({"async", "url", "audio_url"})
"""Fields that make an upload one that this server works on itself."""
OURS = DECISIVE | {"webhook", "webhook_url"}
"""Fields that no other server gets to see: it would make jobs, or calls, of its own."""
NO = frozenset({"", "false", "0", "no", "off"})
"""Values with which they mean nothing."""


class NotSentOn(RouterError):
    """The upload is not one to be sent on after all. All that has come of it is still here."""


class RelayedUpload:
    """The `engine_api.RelayedForm` of an upload that a task of its own reads to the end."""

    def __init__(self, incoming: IncomingUpload, *, task: Task, headers: Mapping[str, str]) -> None:
        self.task, self.headers = task, headers
        self._incoming = incoming
        self._is_complete = False
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    async def read(self) -> None:
        """Read to the end; whoever waits for more is told what went wrong."""
        try:
            await self._incoming.form.write_soon()
            self._tell()
            while await self._incoming.read_on():
                self._tell()
            self._is_complete = True
        except RouterError as error:
            self._error = error
        except Exception as error:
            self._error = error
            raise
        finally:
            self._tell()

    async def complete(self) -> None:
        """Return once all of it is here.

        Raises:
            RouterError: what broke the upload.
        """
        while not self._is_complete:
            await self._more()

    async def parts(self) -> AsyncGenerator[FormField | FormFile, None]:
        """Yield the parts from the first one, fields that came before the file before it.

        Raises:
            NotSentOn: a field says that it is this server's to do.
            RouterError: what broke the upload.
        """
        form, sent, is_file_sent = self._incoming.form, 0, False
        while True:
            for name, value in form.fields[sent:]:
                sent += 1
                if name.strip() not in OURS:
                    yield FormField(name=name, value=value)
                elif name.strip() in DECISIVE and value.strip().lower() not in NO:
                    raise NotSentOn(f"'{name}' is for this server.")
            if form.file is not None and not is_file_sent:
                is_file_sent = True
                yield self._file(form.file)
            elif sent == len(form.fields):
                if self._is_complete:
                    return
                await self._more()

    def _file(self, file: FilePart) -> FormFile:
        return FormFile(
            filename=file.info.filename,
            content_type=file.info.content_type,
            size_bytes=file.size_bytes if file.is_whole else None,
            data=self._data(file),
        )

    async def _data(self, file: FilePart) -> AsyncGenerator[bytes, None]:
        sent_bytes = 0
        while not file.size_bytes and not file.is_whole:
            await self._more()
        reader = await asyncio.to_thread(file.path.open, "rb")
        try:
            while True:
                if (here_bytes := file.size_bytes - sent_bytes) > 0:
                    piece = await asyncio.to_thread(reader.read, min(here_bytes, PIECE_BYTES))
                    sent_bytes += len(piece)
                    yield piece
                elif file.is_whole:
                    return
                else:
                    await self._more()
        finally:
            reader.close()

    async def _more(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._is_complete:
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@asynccontextmanager
async def relayed_upload(
    incoming: IncomingUpload, *, task: Task, headers: Mapping[str, str]
) -> AsyncIterator[RelayedUpload]:
    """Read an upload to its end in the background until the block ends.

    Where it is not to be sent on all of it is read.
    """
    upload, tasks = RelayedUpload(incoming, task=task, headers=headers), Tasks()
    tasks.spawn(upload.read(), name="receive upload")
    try:
        yield upload
    except NotSentOn:
        await upload.complete()
        raise
    finally:
        await tasks.close_in_full()
