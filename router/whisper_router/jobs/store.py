"""What every store of jobs can do.

All of it raises StorageFull when there is no room, StoreUnavailable when it cannot be done now.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from whisper_router.domain import LanguageDetected, Segment, Transcript
from whisper_router.jobs.model import Delivery, Job, JobAudio, JobStatus

Json = Mapping[str, Any]


class JobStore(Protocol):
    """Keeps jobs, the results of their chunks, and what is to be told of them."""

    async def add(self, job: Job, *, max_queued: int | None = None) -> Job:
        """Keep a new job; return it, or the one that its owner made with the same key before.

        Raises:
            JobExists: there is another one of its id.
            IdempotencyKeyReused: the same key stands for another request.
            QueueFull: `max_queued` jobs are queued already.
        """
        ...

    async def record(
        self, job: Job, transcript: Transcript | None, delivery: Delivery | None
    ) -> Job:
        """Keep a job that has ended elsewhere; returns and raises as `add`."""
        ...

    async def with_key(self, owner: str, key: str) -> Job | None:
        """Return the job that an owner has made with an idempotency key."""
        ...

    async def find(self, job_id: str) -> Job | None:
        """Return a job."""
        ...

    async def status_of(self, job_id: str) -> JobStatus | None:
        """Return a job's status, also of one that cannot be read."""
        ...

    async def page(
        self,
        *,
        owner: str | None,
        status: JobStatus | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[Job]:
        """Return the newest jobs, those older than `after`; `owner` None: everybody's."""
        ...

    async def take(self, *, now_s: float) -> Job | None:
        """Begin the oldest queued job that may be and return it; None: there is none.

        One that cannot be read comes as a job that has failed, with its error: it is to be ended.
        """
        ...

    async def next_to_fetch(
        self, *, now_s: float, but_jobs: Sequence[str], but_owners: Sequence[str]
    ) -> Job | None:
        """Return the oldest queued job whose audio is to be fetched; None: there is none."""
        ...

    async def next_begin_s(self, *, now_s: float) -> float | None:
        """Return when a queued job that was put off may be begun next; None: there is none."""
        ...

    async def requeue(self) -> int:
        """Queue what was running when the process ended; return how many that were."""
        ...

    async def put_back(self, job_id: str, *, not_before_s: float | None = None) -> None:
        """Queue a job again: the process is about to end, or it is put off because it failed."""
        ...

    async def finish(
        self,
        job_id: str,
        status: JobStatus,
        *,
        now_s: float,
        percent: float = 0.0,
        transcript: Transcript | None = None,
        error: Json | None = None,
        delivery: Delivery | None = None,
    ) -> bool:
        """End a job, with its result, and note whom to tell. False: it had ended before."""
        ...

    async def transcript(self, job_id: str) -> Transcript | None:
        """Return the result of a completed job."""
        ...

    async def chunks(
        self, job_id: str
    ) -> Mapping[tuple[int, int], Sequence[LanguageDetected | Segment]]:
        """Return what the job's chunks gave, by their samples `[start, end)`."""
        ...

    async def keep_chunk(
        self, job_id: str, start: int, end: int, events: Sequence[LanguageDetected | Segment]
    ) -> None:
        """Keep what a chunk gave."""
        ...

    async def set_audio(self, job_id: str, audio: JobAudio) -> None:
        """Note where the job's audio is by now."""
        ...

    async def delete(self, job_id: str) -> None:
        """Erase a job and all that is known of it, but for what the log still has of it."""
        ...

    async def empty_log(self) -> None:
        """Have nothing left of what was erased."""
        ...

    async def ended_before(self, ended_s: float) -> Sequence[str]:
        """Return jobs that ended before a time, and of which nobody is to be told any more."""
        ...

    async def erase_results(self, ended_s: float) -> Sequence[str]:
        """Erase the texts of jobs that ended before a time; return which have one no more."""
        ...

    async def counts(self) -> Mapping[JobStatus, int]:
        """Return how many jobs there are of each status that there is."""
        ...

    async def ahead_of(self, job: Job) -> int:
        """Return how many jobs are begun before a queued one."""
        ...

    async def usual_s(self) -> float | None:
        """Return how long the latest jobs took on average; None: there is none yet."""
        ...

    async def deliveries(self, job_id: str) -> Sequence[Delivery]:
        """Return whom the job's end was told, or is to be."""
        ...

    async def due(self, *, now_s: float, limit: int) -> Sequence[Delivery]:
        """Return deliveries that are to be tried now."""
        ...

    async def next_due_s(self) -> float | None:
        """Return when the next delivery is to be tried; None: there is none."""
        ...

    async def tried(
        self, delivery_id: str, *, entry: Json, next_s: float | None, delivered_s: float | None
    ) -> None:
        """Note an attempt, and when the next one is; None: there is none."""
        ...
