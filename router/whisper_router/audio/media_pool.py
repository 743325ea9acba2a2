"""A pool of media workers: decodes uploads and finds speech in them, outside this process.

Files come from strangers and decoders have bugs, so a worker may crash, hang or eat memory at any
time: it is then replaced, and nobody but the file's own request notices.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from enum import Enum, auto
from pathlib import Path

import structlog

from whisper_router.audio.media import MediaLimits, PcmFormat, PreparedAudio, Span, VadOptions
from whisper_router.audio.media_process import (
    Job,
    MediaProcess,
    WorkerLostError,
)
from whisper_router.errors import AudioRejected, MediaFailed, RouterError, ShuttingDown
from whisper_router.tasks import Tasks

__all__ = ["MediaLimits", "MediaPool", "PcmFormat", "PreparedAudio", "Span", "VadOptions"]

FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0

log = structlog.get_logger(__name__)


class _Turn(Enum):
    """Where in the queue for a worker to stand."""

    FIRST = auto()
    LAST = auto()


class MediaPool:
    """Keeps `workers` processes alive and hands them out in the order of asking.

    One task per worker owns its process: it starts it, offers it, and starts the next one when it
    is gone. Those who lease a worker may kill it; they never start one.
    """

    def __init__(self, *, workers: int, limits: MediaLimits, tasks: Tasks) -> None:
        self._workers = workers
        self._limits = limits
        self._tasks = tasks
        self._keepers: list[asyncio.Task[None]] = []
        self._alive: list[MediaProcess] = []
        self._idle: deque[MediaProcess] = deque()
        self._waiting: deque[asyncio.Future[MediaProcess]] = deque()
        self._closed = False

    async def start(self) -> None:
        """Begin to start the workers; return at once."""
        for number in range(self._workers):
            keeper = self._tasks.spawn(self._keep(), name=f"media worker {number}")
            self._keepers.append(keeper)

    async def close(self) -> None:
        """Kill the workers. Jobs that run or wait end with ShuttingDown."""
        self._closed = True
        self._refuse_waiting(_shutting_down())
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until a worker is free.

        Raises:
            MediaFailed: no worker could be started.
            ShuttingDown: the pool is closed.
        """
        async with self._lease(_Turn.LAST):
            pass

    @property
    def pids(self) -> Sequence[int]:
        """The process ids of the workers that are warm, busy or not."""
        return [process.pid for process in self._alive]

    async def prepare(
        self,
        source: Path,
        target: Path,
        *,
        pcm: PcmFormat | None = None,
        vad: VadOptions | None = None,
    ) -> PreparedAudio:
        """Decode `source` to `target`, and find its speech if `vad` is given.

        Waits for a free worker for as long as it takes: the caller bounds that. When it raises or
        is cancelled, the work has stopped and `target` is gone.

        Raises:
            AudioUndecodable, AudioTooShort, AudioTooLong: what is wrong with the file.
            AudioRejected: the decoder crashed on the file twice, or it takes too long or too much
                memory.
            StorageFull: there is no room for the decoded audio.
            MediaFailed: the workers do not work.
            ShuttingDown: the pool was closed.
        """
        job = Job(source=source, target=target, pcm=pcm, vad=vad)
        done = False
        try:
            prepared = await self._run(job)
            done = True
            return prepared
        finally:
            if not done:
                # A task of its own: a second cancellation must not leave the file behind.
                await asyncio.shield(
                    self._tasks.spawn(self._discard(target), name="discard decoded audio")
                )

    async def _run(self, job: Job) -> PreparedAudio:
        died: WorkerLostError | None = None
        for turn in (_Turn.LAST, _Turn.FIRST):
            async with self._lease(turn) as worker:
                timeout_s = self._limits.decode_timeout_s(await _size_bytes(job.source))
                try:
                    return await worker.run(job, timeout_s=timeout_s)
                except WorkerLostError as error:
                    died = error
                    if not self._closed:
                        log.warning("media_worker_died", pid=worker.pid, ending=worker.ending())
        raise AudioRejected("The decoder crashed on this file.") from died

    async def _discard(self, target: Path) -> None:
        await asyncio.to_thread(target.unlink, missing_ok=True)

    @contextlib.asynccontextmanager
    async def _lease(self, turn: _Turn) -> AsyncIterator[MediaProcess]:
        worker = await self._acquire(turn)
        try:
            yield worker
        finally:
            self._offer(worker)

    async def _acquire(self, turn: _Turn) -> MediaProcess:
        if self._closed:
            raise _shutting_down()
        while self._idle:
            worker = self._idle.popleft()
            if worker.is_usable:
                return worker
        future: asyncio.Future[MediaProcess] = asyncio.get_running_loop().create_future()
        if turn is _Turn.FIRST:
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._offer(future.result())  # it was handed over in the same moment
            raise

    def _offer(self, worker: MediaProcess) -> None:
        """Give a free worker to who waits longest."""
        if not worker.is_usable:
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(worker)
                return
        self._idle.append(worker)

    def _refuse_waiting(self, error: RouterError) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)

    async def _keep(self) -> None:
        """Own one worker after the other."""
        failures = 0
        while True:
            try:
                worker = await MediaProcess.start(self._limits, self._tasks)
            except OSError as error:  # no descriptors, processes or memory: that passes
                self._could_not_start(str(error))
                failures += 1
            else:
                failures = 0 if await self._served(worker) else failures + 1
            if failures:
                await asyncio.sleep(min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(failures, 9)))

    async def _served(self, worker: MediaProcess) -> bool:
        """Offer a worker until it is gone; return whether it ever became ready."""
        try:
            if not await self._became_ready(worker):
                return False
            self._alive.append(worker)
            self._offer(worker)
            await worker.exited()
            return True
        finally:
            self._forget(worker)
            await worker.end()

    async def _became_ready(self, worker: MediaProcess) -> bool:
        try:
            await worker.ready()
        except (WorkerLostError, TimeoutError) as error:
            self._could_not_start(str(error) or "it did not answer in time")
            return False
        return True

    def _could_not_start(self, reason: str) -> None:
        log.error("media_worker_failed_to_start", reason=reason)
        if not self._alive:
            self._refuse_waiting(MediaFailed(f"No media worker could be started: {reason}"))

    def _forget(self, worker: MediaProcess) -> None:
        for place in (self._alive, self._idle):
            with contextlib.suppress(ValueError):
                place.remove(worker)


async def _size_bytes(path: Path) -> int:
    try:
        return (await asyncio.to_thread(path.stat)).st_size
    except OSError:
        return 0  # the worker will say what is wrong with it


def _shutting_down() -> ShuttingDown:
    return ShuttingDown("The server is shutting down.")
