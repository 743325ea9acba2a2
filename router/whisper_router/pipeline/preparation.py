"""The audio of one request on its way in: chunks become known while the rest is decoded."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from whisper_router.audio.media import Heard, PreparedAudio
from whisper_router.pipeline.plan import PlannedChunk, Planner, whole
from whisper_router.pipeline.progress import Stage, Tracker

log = structlog.get_logger(__name__)


class Prepare(Protocol):
    """`MediaPool.prepare` for one file."""

    def __call__(self, *, heard: Callable[[Heard], None]) -> Awaitable[PreparedAudio]:
        """Decode, and tell `heard` of each piece."""
        ...


class Preparation:
    """Plans the chunks of a file while it is decoded, and tells the tracker how far that is.

    `planner` None: speech is not looked for, and the whole file is one chunk.
    """

    def __init__(self, planner: Planner | None, tracker: Tracker) -> None:
        self._planner, self._tracker = planner, tracker
        self._chunks: asyncio.Queue[PlannedChunk | None] = asyncio.Queue()  # a few bytes each
        self._begun = asyncio.Event()
        self._count = 0
        self._planned_s = 0.0
        self._audio: PreparedAudio | None = None
        self._error: Exception | None = None

    async def run(self, prepare: Prepare) -> None:
        """Await `prepare`. Its error is raised to those who wait for chunks."""
        try:
            self._audio = await prepare(heard=self._hear)
            self._end(self._audio)
        except Exception as error:  # noqa: BLE001 - raised where the chunks are awaited
            self._error = error
        finally:
            self._begun.set()
            self._chunks.put_nowait(None)

    async def begun(self) -> None:
        """Return once something was decoded.

        Raises:
            RouterError: nothing could be.
        """
        await self._begun.wait()
        if self._error is not None:
            raise self._error

    async def chunks(self) -> AsyncGenerator[PlannedChunk, None]:
        """Yield the chunks in order, as they become known. To be called once.

        Raises:
            RouterError: the rest of the file could not be decoded.
        """
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
        if self._error is not None:
            raise self._error

    @property
    def audio(self) -> PreparedAudio:
        """What was decoded; to be asked for after the last chunk."""
        if self._audio is None:
            raise RuntimeError("the audio is still being decoded")
        return self._audio

    def _hear(self, heard: Heard) -> None:
        if self._planner is not None and heard.found is not None:
            self._give(self._planner.add(heard.found))
            settled_s = self._planner.settled_s
        else:
            settled_s = 0.0
        decoded_s, expected_s = heard.decoded_s, heard.expected_s
        duration_s = None if expected_s is None else max(expected_s, decoded_s)
        left_s = None if duration_s is None else max(0.0, duration_s - settled_s)
        self._tracker.update(duration_s=duration_s, decoded_s=decoded_s, left_s=left_s)
        self._begun.set()

    def _end(self, audio: PreparedAudio) -> None:
        self._give([whole(audio.duration_s)] if self._planner is None else self._planner.end())
        self._tracker.update(
            duration_s=audio.duration_s,
            decoded_s=audio.duration_s,
            speech_s=self._planned_s,
            left_s=0.0,
        )
        log.info(
            "audio_prepared",
            duration_s=round(audio.duration_s, 3),
            speech_s=round(self._planned_s, 3),
            chunks=self._count,
        )

    def _give(self, chunks: Sequence[PlannedChunk]) -> None:
        for chunk in chunks:
            self._count += 1
            self._planned_s += chunk.duration_s - chunk.overlap_s
            self._chunks.put_nowait(chunk)
        self._tracker.update(speech_s=self._planned_s)
        if chunks and self._tracker.report.stage is Stage.DECODING:
            self._tracker.update(stage=Stage.WAITING)
