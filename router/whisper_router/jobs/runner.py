"""Runs queued jobs, and goes on with them after a restart."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import structlog
from structlog.contextvars import bind_contextvars

from whisper_router import tracing
from whisper_router.audio.spool import Spool
from whisper_router.domain import Lane, Transcript
from whisper_router.errors import (
    InvalidRequest,
    QueueFull,
    QueueTimeout,
    RouterError,
    Unavailable,
)
from whisper_router.jobs.chunks import StoredChunks
from whisper_router.jobs.ends import End, Ends
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.intake import Intake
from whisper_router.jobs.keeping import Keeping
from whisper_router.jobs.model import LONGEST_WAIT_S, Job, JobStatus
from whisper_router.jobs.needs import Fetcher, InUse, JobLimits, Notice, Transcriber
from whisper_router.jobs.pace import Pace
from whisper_router.jobs.store import JobStore
from whisper_router.jobs.watchers import Watchers
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.pipeline.transcribe import MediaSource, collect
from whisper_router.tasks import Tasks

__all__ = ["JobLimits", "JobRunner"]

LOOK_AHEAD_S = 60.0
"""How long at most nothing is looked for that may be begun: the clock may be set meanwhile."""

log = structlog.get_logger(__name__)


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
        notice: Notice,
        in_use: InUse = lambda _model, _keep_alive_s: nullcontext(),
    ) -> None:
        """`notice` makes the body of a webhook of an ended job."""
        self.store, self._files = store, files
        self._transcriber, self._fetcher, self._in_use = transcriber, fetcher, in_use
        self._limits, self._tasks = limits, Tasks()
        self._watchers = Watchers()
        self._keeping = Keeping(store, files, limits, time.time)
        self._ends = Ends(
            store,
            self._keeping,
            notice=notice,
            clock=time.time,
            tell=self._watchers.tell,
            pause_s=limits.hold_off_s,
        )
        self._queued = asyncio.Event()
        self._intake = Intake(
            store, files, self._ends, max_queued=limits.max_queued, wake=self._queued.set
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._fetching: dict[str, tuple[str, asyncio.Task[None]]] = {}
        """With the owner."""
        self._trackers: dict[str, Tracker] = {}
        self._paces: dict[str, Pace] = {}
        self._cancelled = Counter[str]()
        self._taking = asyncio.Lock()
        """Is held from the choice of a job until its task is known, so that it can be cancelled."""

    async def open(self) -> None:
        """Go on with what a process before has left. Raises Unavailable."""
        left = await self.store.requeue()
        if left:
            log.info("jobs_resumed", jobs=left)
        await self._keeping.erase_orphans()
        self._queued.set()
        self._tasks.spawn(self._run_queued(), name="run jobs")
        self._tasks.spawn(self._keeping.run(), name="erase old jobs")

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

    async def submit(self, job: Job, upload: Path | None = None) -> Job:
        """Queue a new job; return it, or the one made with the same idempotency key before.

        The uploaded file is taken over; where no new job is made of it, it is deleted. Whoever is
        cancelled meanwhile has submitted the job all the same.

        Raises:
            RouterError: as `JobStore.add`.
        """
        return await self._tasks.in_full(self._intake.submit(job, upload), name=f"submit {job.id}")

    async def record(self, job: Job, transcript: Transcript | None) -> Job:
        """Keep a job that has ended elsewhere, with its result; return it, as `submit`."""
        return await self._tasks.in_full(
            self._intake.record(job, transcript), name=f"record {job.id}"
        )

    async def cancel(self, job: Job) -> bool:
        """End a job, and free its worker if it runs. False: it had ended before.

        It goes on if who waits for it is cancelled, and if it cannot be written at once.

        Raises:
            Unavailable: it could not be written at once.
        """
        return await self._tasks.in_full(self._cancel(job), name=f"cancel {job.id}")

    async def erase(self, job: Job) -> None:
        """Cancel a job if need be, and delete all that is known of it. Raises as `cancel`."""
        await self._tasks.in_full(self._erase(job), name=f"erase {job.id}")

    def tracker(self, job_id: str) -> Tracker | None:
        """Return how far a job is that runs, or whose audio is fetched."""
        return self._trackers.get(job_id)

    def left_s(self, job_id: str) -> float | None:
        """Return in how many seconds a running job is done; None: nobody knows."""
        pace = self._paces.get(job_id)
        return None if pace is None else pace.left_s

    async def begins_in_s(self, job: Job) -> float | None:
        """Return in how many seconds a queued job is begun; None: nobody knows."""
        usual_s, ahead = await self.store.usual_s(), await self.store.ahead_of(job)
        left_s = [self.left_s(job_id) for job_id in self._running]
        known_s = [usual_s if item is None else item for item in left_s]
        if ahead and usual_s is None:
            return None
        total_s = (usual_s or 0.0) * ahead
        for item in known_s:
            if item is None:
                return None
            total_s += item
        return round(total_s / self._limits.max_running, 1)

    def watch(self, job_id: str) -> AbstractContextManager[asyncio.Event]:
        """Yield an event that is set whenever the job's status changes; the caller clears it."""
        return self._watchers.watch(job_id)

    def on_end(self, listener: Callable[[Job], None]) -> None:
        """Have `listener` called with each job that ends from now on."""
        self._ends.listeners.append(listener)

    async def delivery_due(self) -> None:
        """Return once a job has ended whose webhook is to be called."""
        await self._ends.delivery_due.wait()
        self._ends.delivery_due.clear()

    async def _cancel(self, job: Job) -> bool:
        self._cancelled[job.id] += 1
        try:
            async with self._taking:
                tasks = self._tasks_of(job.id)
                percent = self._percent(job.id)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            end = End(status=JobStatus.CANCELLED, percent=percent)
            try:
                return await self._ends.end(job, end)
            except Unavailable:
                self._cancelled[job.id] += 1
                self._tasks.spawn(self._cancel_at_last(job, end), name=f"cancel {job.id}")
                raise
        finally:
            await self._uncancel(job.id)

    async def _cancel_at_last(self, job: Job, end: End) -> None:
        try:
            await self._ends.end_at_last(job, end)
        finally:
            await self._uncancel(job.id)

    async def _uncancel(self, job_id: str) -> None:
        async with self._taking:
            self._cancelled[job_id] -= 1
            self._cancelled += Counter()  # forget those that are not cancelled

    async def _erase(self, job: Job) -> None:
        if not job.has_ended:
            await self._cancel(job)
        await self._keeping.erase(job.id)
        self._watchers.tell(job.id)

    async def _run_queued(self) -> None:
        while True:
            self._queued.clear()
            wait_s = await self._begin_or_hold_off()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._queued.wait()

    async def _begin_or_hold_off(self) -> float:
        try:
            return await self._begin()
        except Unavailable as error:
            log.warning("jobs_not_begun", reason=str(error))
        except Exception:
            log.exception("jobs_not_begun")
        await asyncio.sleep(self._limits.hold_off_s)  # also when more is queued meanwhile
        return 0.0

    async def _begin(self) -> float:
        """Begin what may be; return for how long nothing more will be."""
        now_s = time.time()
        while len(self._fetching) < self._limits.max_fetching and await self._begin_fetch(now_s):
            pass
        while len(self._running) < self._limits.max_running and await self._begin_run(now_s):
            pass
        next_s = await self.store.next_begin_s(now_s=now_s)
        return LOOK_AHEAD_S if next_s is None else min(LOOK_AHEAD_S, max(0.0, next_s - now_s))

    async def _begin_run(self, now_s: float) -> bool:
        async with self._taking:
            job = await self.store.take(now_s=now_s)
            if job is None:
                return False
            if job.id not in self._cancelled:
                work = self._work(job, self._run)
                self._running[job.id] = self._tasks.spawn(work, name=f"job {job.id}")
        return True

    async def _begin_fetch(self, now_s: float) -> bool:
        """Begin to fetch the audio of a queued job; it takes no place of those that run."""
        owners = Counter(owner for owner, _ in self._fetching.values())
        busy = [name for name, n in owners.items() if n >= self._limits.max_fetching_per_key]
        async with self._taking:
            job = await self.store.next_to_fetch(
                now_s=now_s, but_jobs=[*self._fetching, *self._cancelled], but_owners=busy
            )
            if job is None:
                return False
            if job.id not in self._cancelled:
                task = self._tasks.spawn(self._work(job, self._fetch), name=f"fetch {job.id}")
                self._fetching[job.id] = job.owner, task
        return True

    async def _work(self, job: Job, work: Callable[[Job], Awaitable[None]]) -> None:
        """Do some work for a job, and what follows if that fails."""
        bind_contextvars(request_id=job.request.request_id or job.id)  # the task is the job's own
        self._trackers[job.id] = Tracker(job.owner)
        self._watchers.tell(job.id)
        span = tracing.begin(
            "fetch" if job.id in self._fetching else "job",
            kind=tracing.Kind.CONSUMER,
            parent=job.request.trace,
            job=job.id,
            alias=job.request.model,
            attempt=job.attempts,
        )
        try:
            with span, span.active():
                await work(job)
        except asyncio.CancelledError:
            if job.id not in self._cancelled:
                await self._put_back(job)
            raise
        except RouterError as error:
            await self._tasks.in_full(self._fail(job, error), name=f"end {job.id}")
        except Exception:
            bug = RouterError("The server had an error while it ran the job.")
            await self._tasks.in_full(self._fail(job, bug), name=f"end {job.id}")
            raise
        finally:
            self._running.pop(job.id, None)
            self._fetching.pop(job.id, None)
            self._trackers.pop(job.id, None)
            self._paces.pop(job.id, None)
            self._watchers.tell(job.id)
            self._queued.set()

    async def _run(self, job: Job) -> None:
        if job.has_ended:  # it cannot be read
            end = End(status=job.status, error=job.error)
        else:
            log.info("job_began", job=job.id, attempt=job.attempts)
            end = End(
                status=JobStatus.COMPLETED, percent=100.0, transcript=await self._recognise(job)
            )
        await self._tasks.in_full(self._ends.end_at_last(job, end), name=f"end {job.id}")

    async def _recognise(self, job: Job) -> Transcript:
        if job.audio.path is None:
            raise InvalidRequest("The job's audio is no longer there.")
        request = replace(job.request, lane=Lane.JOB)
        media = MediaSource(path=job.audio.path, pcm=job.audio.pcm)
        tracker = self._trackers[job.id]
        pace = self._paces[job.id] = Pace(tracker)
        known = await self.store.chunks(job.id)
        memory = StoredChunks(self.store, job, known, on_missing=pace.begin)
        with self._in_use(request.model, job.keep_alive_s):
            return await collect(self._transcriber.run(request, media, tracker, memory), request)

    async def _fetch(self, job: Job) -> None:
        """Fetch the job's audio; then it waits for its turn like others."""
        self._trackers[job.id].update(stage=Stage.FETCHING)
        target = self.spool.directory / f"{job.id}.fetched"
        fetched = await self._fetcher.fetch(job.audio.url or "", target)
        await self.store.set_audio(job.id, replace(job.audio, path=target, name=fetched.name))

    async def _fail(self, job: Job, error: RouterError) -> None:
        """End the job with its error, or have it tried again if that may help."""
        may_pass = isinstance(error, Unavailable | QueueFull | QueueTimeout)
        if may_pass and job.failures + 1 < self._limits.max_attempts:
            wait_s = min(error.retry_after_s or 2.0 ** min(job.failures, 6), LONGEST_WAIT_S)
            log.info("job_postponed", job=job.id, code=error.code, wait_s=wait_s)
            await self._ends.put_off(job, not_before_s=time.time() + wait_s)
            return
        log.warning("job_failed", job=job.id, code=error.code, reason=str(error))
        body = {**error.envelope()["error"], "status": error.status}
        end = End(status=JobStatus.FAILED, percent=self._percent(job.id), error=body)
        await self._ends.end_at_last(job, end)

    async def _put_back(self, job: Job) -> None:
        try:
            await self.store.put_back(job.id)
        except Unavailable as error:  # the next process finds it
            log.warning("job_not_put_back", job=job.id, reason=str(error))

    def _tasks_of(self, job_id: str) -> list[asyncio.Task[None]]:
        found = [self._running.get(job_id), self._fetching.get(job_id, ("", None))[1]]
        return [task for task in found if task is not None]

    def _percent(self, job_id: str) -> float:
        tracker = self._trackers.get(job_id)
        return 0.0 if tracker is None else tracker.report.percent
