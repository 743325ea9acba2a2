"""A form for another server, without a client: its file arrives when a test says so."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field

from support.own_time import pass_s
from whisper_router.domain import Task
from whisper_router.engine_api import FormField, FormFile
from whisper_router.errors import RouterError


@dataclass
class ScriptedForm:
    """A form whose file arrives in pieces, when `more` is told to; None: all of it is here.

    `wait_s` passes before each piece: see `support.own_time`.
    """

    pieces: list[bytes]
    more: "asyncio.Queue[None] | None" = None
    error: RouterError | None = None
    task: Task = Task.TRANSCRIBE
    headers: Mapping[str, str] = field(default_factory=dict)
    times_read: int = 0
    wait_s: float = 0.0

    async def complete(self) -> None:
        if self.more is not None:
            for _ in self.pieces:
                await self.more.get()
            self.more = None
        if self.wait_s:
            pass_s(self.wait_s * len(self.pieces))
            self.wait_s = 0.0

    async def parts(self) -> AsyncGenerator[FormField | FormFile, None]:
        self.times_read += 1
        yield FormField(name="language", value="en")
        size = sum(map(len, self.pieces)) if self.more is None else None
        yield FormFile(
            filename="a.wav", content_type="audio/wav", size_bytes=size, data=self._data()
        )

    async def _data(self) -> AsyncGenerator[bytes, None]:
        for piece in self.pieces:
            if self.more is not None:
                await self.more.get()
            if self.wait_s:
                pass_s(self.wait_s)
                await asyncio.sleep(0)  # what is due by now ends
            yield piece
        if self.error is not None:
            raise self.error
