"""Runs queued jobs, goes on with them after a restart, and erases what is kept no longer."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from whisper_router.audio.fetch_url import FetchedAudio
from whisper_router.audio.spool import Spool
from whisper_router.domain import (
    Lane,
    LanguageDetected,
    Segment,
    Transcript,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.errors import (
    InvalidRequest,
    QueueFull,
    QueueTimeout,
    RouterError,
    Unavailable,
)
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.model import Delivery, Job, JobStatus
from whisper_router.jobs.store import JobStore
from whisper_router.pipeline.chunk_memory import ChunkMemory
from whisper_router.pipeline.plan import PlannedChunk
from whisper_router.pipeline.progress import Tracker
from whisper_router.pipeline.transcribe import MediaSource, collect
from whisper_router.tasks import Tasks

SWEEP_S = 60.0
"""How often jobs are looked for whose time is over."""
LONGEST_WAIT_S = 60.0
"""How long at most a job waits before what was unavailable is tried again."""
Json = Mapping[str, Any]

log = structlog.get_logger(__name__)


class Transcriber(Protocol):
    """Turns audio into events (`pipeline.transcribe`)."""

    def run(
        self,
        request: TranscriptionRequest,
        media: MediaSource,
        tracker: Tracker | None = None,
        memory: ChunkMemory = ...,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield events; closing the generator ends all work. Raises RouterError."""
        ...


class Fetcher(Protocol):
    """Fetches audio that is elsewhere (`audio.fetch_url`)."""

    async def fetch(self, url: str, target: Path) -> FetchedAudio:
        """Fetch an address to a new file. Raises RouterError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """How jobs run and what is kept of them.

    No more than `max_queued` may wait. Results are erased after `keep_s`; with `keep_audio` the
    audio is kept as long, else it goes with the job's end. What is unavailable is tried
    `max_attempts` times.
    """

    max_running: int
    max_queued: int
    keep_s: float
    keep_audio: bool = False
    max_attempts: int = 20


class JobRunner:
    """Owns the state of every job: others ask it to submit and to cancel."""

    def __init__(
        self,
        *,
        store: JobStore,
        transcriber: Transcriber,
        files: JobFiles,
        fetcher: Fetcher,
        limits: JobLimits,
        notice: Callable[[Job, Transcript | None], Json],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`notice` makes the body of a webhook of an ended job."""
        self.store, self._files = store, files
        self._transcriber, self._limits, self._notice = transcriber, limits, notice
        self._fetcher = fetcher
        self._clock, self._tasks = clock, Tasks()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._trackers: dict[str, Tracker] = {}
        self._cancelled: set[str] = set()
        self._queued, self._delivery_due = asyncio.Event(), asyncio.Event()
        self._watchers: dict[str, set[asyncio.Event]] = {}

    async def open(self) -> None:
        """Go on with what a process before has left."""
        left = await self.store.requeue()
        if left:
            log.info("jobs_resumed", jobs=left)
        await self._erase_orphans()
        self._queued.set()
        self._tasks.spawn(self._run_queued(), name="run jobs")
        self._tasks.spawn(self._sweep(), name="erase old jobs")

    async def close(self) -> None:
        """Stop; jobs that run are queued again, and keep what their chunks have given."""
        await self._tasks.close_in_full()

    @property
    def spool(self) -> Spool:
        """Where uploads for jobs arrive."""
        return self._files.spool

    @property
    def max_queued(self) -> int:
        """How many jobs may wait."""
        return self._limits.max_queued

    def adopt(self, path: Path, job_id: str) -> Path:
        """Take over an uploaded file for a job; return where it is. Blocking."""
        return self._files.adopt(path, job_id)

    async def submit(self, job: Job) -> Job:
        """Queue a new job; return it, or the one made with the same idempotency key before."""
        kept = await self.store.add(job)
        if kept.id == job.id:
            log.info("job_queued", job=job.id, alias=job.request.model)
            self._queued.set()
        return kept

    async def record(self, job: Job, transcript: Transcript | None) -> Job:
        """SHIM."""
        await self.store.add(replace(job, status=JobStatus.RUNNING, ended_s=None))
        await self.store.finish(
            job.id,
            job.status,
            now_s=job.ended_s or 0,
            transcript=transcript,
            error=job.error,
            delivery=self._delivery(job, transcript),
        )
        self._delivery_due.set()
        return job

    async def cancel(self, job: Job) -> bool:
        """End a job, and free its worker if it runs. False: it had ended before."""
        self._cancelled.add(job.id)
        try:
            task = self._running.get(job.id)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            return await self._finish(job, JobStatus.CANCELLED)
        finally:
            self._cancelled.discard(job.id)

    async def erase(self, job: Job) -> None:
        """Cancel a job if need be, and delete all that is known of it."""
        if not job.has_ended:
            await self.cancel(job)
        await self._erase_audio(job)
        await self.store.delete(job.id)
        log.info("job_erased", job=job.id)

    def tracker(self, job_id: str) -> Tracker | None:
        """Return how far a running job is."""
        return self._trackers.get(job_id)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the job's status changes; the caller clears it."""
        changed = asyncio.Event()
        watchers = self._watchers.setdefault(job_id, set())
        watchers.add(changed)
        try:
            yield changed
        finally:
            watchers.discard(changed)
            if not watchers:
                self._watchers.pop(job_id, None)

    async def delivery_due(self) -> None:
        """Return once a job has ended whose webhook is to be called."""
        await self._delivery_due.wait()
        self._delivery_due.clear()

    async def _run_queued(self) -> None:
        while True:
            self._queued.clear()
            while len(self._running) < self._limits.max_running:
                job = await self.store.take(now_s=self._clock())
                if job is None:
                    break
                task = self._tasks.spawn(self._run(job), name=f"job {job.id}")
                self._running[job.id] = task
            await self._queued.wait()

    async def _run(self, job: Job) -> None:
        log.info("job_began", job=job.id, attempt=job.attempts)
        self._trackers[job.id] = Tracker(job.owner)
        self._tell(job.id)
        try:
            transcript = await self._recognise(job)
        except asyncio.CancelledError:
            if job.id not in self._cancelled:
                await self.store.put_back(job.id)
            raise
        except RouterError as error:
            await self._fail(job, error)
        except Exception:
            await self._fail(job, RouterError("The server had an error while it ran the job."))
            raise
        else:
            await self._finish(job, JobStatus.COMPLETED, transcript=transcript)
        finally:
            self._running.pop(job.id, None)
            self._trackers.pop(job.id, None)
            self._tell(job.id)
            self._queued.set()

    async def _recognise(self, job: Job) -> Transcript:
        path = await self._audio(job)
        request = replace(job.request, lane=Lane.JOB)
        media = MediaSource(path=path, pcm=job.audio.pcm)
        memory = _Memory(self.store, job.id, await self.store.chunks(job.id))
        tracker = self._trackers[job.id]
        return await collect(self._transcriber.run(request, media, tracker, memory), request)

    async def _audio(self, job: Job) -> Path:
        """Return where the audio is; fetch it if it is elsewhere."""
        if job.audio.path is not None:
            return job.audio.path
        if job.audio.url is None:
            raise InvalidRequest("The job's audio is no longer there.")
        target = self.spool.directory / f"{job.id}.fetched"
        fetched = await self._fetcher.fetch(job.audio.url, target)
        audio = replace(job.audio, path=target, name=fetched.name)
        await self.store.set_audio(job.id, audio)
        return target

    async def _fail(self, job: Job, error: RouterError) -> None:
        """End the job with its error, or have it tried again if that may help."""
        may_pass = isinstance(error, Unavailable | QueueFull | QueueTimeout)
        if may_pass and job.attempts < self._limits.max_attempts:
            wait_s = min(error.retry_after_s or 2.0 ** min(job.attempts, 6), LONGEST_WAIT_S)
            log.info("job_postponed", job=job.id, code=error.code, wait_s=wait_s)
            try:
                await asyncio.sleep(wait_s)
            finally:
                if job.id not in self._cancelled:
                    await self.store.put_back(job.id)
            return
        log.warning("job_failed", job=job.id, code=error.code, reason=str(error))
        body = error.envelope()["error"]
        await self._finish(job, JobStatus.FAILED, error={**body, "status": error.status})

    async def _finish(
        self,
        job: Job,
        status: JobStatus,
        *,
        transcript: Transcript | None = None,
        error: Json | None = None,
    ) -> bool:
        now_s = self._clock()
        duration_s = None if transcript is None else transcript.duration_s
        ended = replace(job, status=status, ended_s=now_s, duration_s=duration_s, error=error)
        has_ended = await self.store.finish(
            job.id,
            status,
            now_s=now_s,
            transcript=transcript,
            error=error,
            delivery=self._delivery(ended, transcript),
        )
        if has_ended:
            log.info("job_ended", job=job.id, status=status)
            if not self._limits.keep_audio:
                await self._erase_audio(job)
            self._delivery_due.set()
            self._tell(job.id)
        return has_ended

    def _delivery(self, ended: Job, transcript: Transcript | None) -> Delivery | None:
        if ended.webhook is None:
            return None
        return Delivery(
            id=f"msg_{uuid.uuid4().hex}",
            job_id=ended.id,
            webhook=ended.webhook,
            body=json.dumps(self._notice(ended, transcript), ensure_ascii=False),
            next_s=self._clock(),
        )

    def _tell(self, job_id: str) -> None:
        for changed in self._watchers.get(job_id, ()):
            changed.set()

    async def _sweep(self) -> None:
        while True:
            for job in await self.store.ended_before(self._clock() - self._limits.keep_s):
                await self.erase(job)
            await asyncio.sleep(SWEEP_S)

    async def _erase_audio(self, job: Job) -> None:
        known = await self.store.find(job.id) or job  # what was fetched is known there only
        if known.audio.path is not None:
            await asyncio.to_thread(known.audio.path.unlink, missing_ok=True)
            await self.store.set_audio(job.id, replace(known.audio, path=None, pcm=None))

    async def _erase_orphans(self) -> None:
        """Delete files that no job needs: their upload, or their job's end, was cut short."""
        for path in await asyncio.to_thread(_files, self.spool.directory):
            job = await self.store.find(path.stem)
            if job is None or (job.has_ended and not self._limits.keep_audio):
                await asyncio.to_thread(path.unlink, missing_ok=True)


class _Memory:
    """The chunks of one job, in the store."""

    def __init__(
        self,
        store: JobStore,
        job_id: str,
        known: Mapping[tuple[int, int], Sequence[LanguageDetected | Segment]],
    ) -> None:
        self._store, self._job_id, self._known = store, job_id, known

    async def recall(self, planned: PlannedChunk) -> Sequence[LanguageDetected | Segment] | None:
        """Return what the chunk gave."""
        return self._known.get((planned.start, planned.end))

    async def keep(
        self, planned: PlannedChunk, events: Sequence[LanguageDetected | Segment]
    ) -> None:
        """Keep what the chunk gave."""
        await self._store.keep_chunk(self._job_id, planned.start, planned.end, events)


def _files(directory: Path) -> Sequence[Path]:
    return [path for path in directory.iterdir() if path.is_file()]
