"""A pool of media workers: decodes uploads and finds speech in them, outside this process.

Files come from strangers and decoders have bugs, so a worker may crash, hang or eat memory at any
time: it is then replaced, and nobody but the file's own request notices.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum, auto
from pathlib import Path

import structlog

from whisper_router.audio.media import (
    MIB,
    Heard,
    MediaLimits,
    PcmFormat,
    PreparedAudio,
    Span,
    VadOptions,
)
from whisper_router.audio.media_process import (
    Job,
    MediaProcess,
    WorkerLostError,
)
from whisper_router.errors import AudioRejected, MediaFailed, RouterError, ShuttingDown
from whisper_router.tasks import Tasks

__all__ = ["MediaLimits", "MediaPool", "PcmFormat", "PreparedAudio", "Span", "VadOptions"]

LARGE_BYTES = 8 * MIB
"""From this size on a file may take many seconds to decode: half an hour of speech as MP3."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.1, 5.0

log = structlog.get_logger(__name__)


def _ignore(_: Heard) -> None:
    """Wait for the whole."""


class _Once:
    """Passes on what was not heard before: a second attempt finds the same in the same pieces."""

    def __init__(self, heard: Callable[[Heard], None]) -> None:
        self._heard = heard
        self._seen = self._given = 0

    def start_again(self) -> None:
        """Expect everything from the beginning."""
        self._seen = 0

    def __call__(self, piece: Heard) -> None:
        """Take the next piece of this attempt."""
        self._seen += 1
        if self._seen > self._given:
            self._given = self._seen
            self._heard(piece)


class _Turn(Enum):
    """Where in the queue for a worker to stand."""

    FIRST = auto()
    LAST = auto()


class MediaPool:
    """Keeps `workers` processes alive and hands them out in the order of asking.

    Large files never take the last worker, if there are several: clips are not to wait for them.
    One task per worker owns its process: it starts it, offers it, and starts the next one when it
    is gone. Those who lease a worker may kill it; they never start one.
    """

    def __init__(
        self, *, workers: int, limits: MediaLimits, tasks: Tasks, scratch: Path | None = None
    ) -> None:
        """`scratch` is where libraries may put temporary files; None: where all programs do."""
        self._workers = workers
        self._limits = limits
        self._tasks = tasks
        self._scratch = scratch
        self._keepers: list[asyncio.Task[None]] = []
        self._alive: list[MediaProcess] = []
        self._ending: set[MediaProcess] = set()
        self._idle: deque[MediaProcess] = deque()
        self._waiting: deque[asyncio.Future[MediaProcess]] = deque()
        self._closed = False
        self._room_for_large = asyncio.Semaphore(max(1, workers - 1))
        self.failure: str | None = None
        """Why there is no worker, while none can be started."""

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
        for worker in tuple(self._ending):  # its keeper was cancelled while it saw it gone
            await worker.end()

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
        levels: Path | None = None,
        heard: Callable[[Heard], None] = _ignore,
    ) -> PreparedAudio:
        """Decode `source` to `target`, and find its speech if `vad` is given.

        How loud each channel is goes to `levels`, as `stage_api.StageAudio` has it.

        `heard` is told of each piece once, in order, while the rest is still to come; a worker that
        crashes does not change that. What it was told of can be read from `target`.

        Waits for a free worker for as long as it takes: the caller bounds that. When it raises or
        is cancelled, the work has stopped. `target` is the caller's to delete: somebody may still
        read what was told of.

        Raises:
            AudioUndecodable, AudioTooShort, AudioTooLong, ChannelsUnusable: what is wrong with the
                file.
            AudioRejected: the decoder crashed on the file twice, or it takes too long or too much
                memory.
            StorageFull: there is no room for the decoded audio.
            MediaFailed: the workers do not work.
            ShuttingDown: the pool was closed.
        """
        job = Job(source=source, target=target, pcm=pcm, vad=vad, levels=levels)
        size_bytes = await _size_bytes(source)
        is_large = size_bytes >= LARGE_BYTES
        async with self._room_for_large if is_large else contextlib.nullcontext():
            return await self._run(job, size_bytes, _Once(heard))

    async def _run(self, job: Job, size_bytes: int, heard: _Once) -> PreparedAudio:
        died: WorkerLostError | None = None
        for turn in (_Turn.LAST, _Turn.FIRST):
            async with self._lease(turn) as worker:
                heard.start_again()
                try:
                    return await worker.run(job, size_bytes=size_bytes, heard=heard)
                except WorkerLostError as error:
                    died = error
                    if not self._closed:
                        log.warning("media_worker_died", pid=worker.pid, ending=worker.ending())
        raise AudioRejected("The decoder crashed on this file.") from died

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
                worker = await MediaProcess.start(self._limits, self._tasks, scratch=self._scratch)
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
            self.failure = None
            self._alive.append(worker)
            self._offer(worker)
            await worker.exited()
            return True
        finally:
            self._forget(worker)
            self._ending.add(worker)
            await worker.end()
            self._ending.discard(worker)

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
            self.failure = f"No media worker could be started: {reason}"
            self._refuse_waiting(MediaFailed(self.failure))

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
