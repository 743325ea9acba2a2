"""Jobs in one SQLite file (write-ahead log), which is all that a server of its own needs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisper_router.domain import Transcript
from whisper_router.errors import QueueFull
from whisper_router.jobs.codec import dump_transcript
from whisper_router.jobs.database import Database, open_database
from whisper_router.jobs.errors import IdempotencyKeyReused, exists
from whisper_router.jobs.model import LONGEST_WAIT_S, Delivery, Job, JobAudio, JobStatus
from whisper_router.jobs.rows import COLUMNS, dump_audio, job_of, values_of
from whisper_router.jobs.sqlite_deliveries import SqliteDeliveries
from whisper_router.jobs.sqlite_results import SqliteResults

Json = Mapping[str, Any]
LATEST = 20
"""Of how many jobs it is known how long one takes."""
IN_LOOP = 20
"""How many rows are made jobs in the event loop; more are in a thread."""
IS_TIME = (  # a clock that is set back makes nobody wait for longer
    f"(not_before_s IS NULL OR not_before_s <= ? OR not_before_s > ? + {LONGEST_WAIT_S})"
)
IS_TOLD = "EXISTS (SELECT 1 FROM deliveries WHERE job = jobs.id AND next_s IS NOT NULL)"


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator["SqliteStore"]:
    """Open the file, or make it; see `database.open_database`. Raises ConfigurationError."""
    async with open_database(path) as database:
        yield SqliteStore(database)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    status: JobStatus
    now_s: float
    percent: float
    duration_s: float | None
    transcript: str | None
    error: Json | None
    delivery: Delivery | None


class SqliteStore(SqliteDeliveries, SqliteResults):
    """Implements `JobStore`."""

    def __init__(self, database: Database) -> None:
        SqliteDeliveries.__init__(self, database)
        SqliteResults.__init__(self, database)
        self._database = database

    async def add(self, job: Job, *, max_queued: int | None = None) -> Job:
        """Keep a new job; return it, or the one that its owner made with the same key before."""
        return await asyncio.shield(self._add(job, max_queued, None, None))

    async def record(
        self, job: Job, transcript: Transcript | None, delivery: Delivery | None
    ) -> Job:
        """Keep a job that has ended elsewhere; returns and raises as `add`."""
        text = None if transcript is None else await self.in_thread(dump_transcript, transcript)
        return await asyncio.shield(self._add(job, None, text, delivery))

    async def _add(
        self, job: Job, max_queued: int | None, transcript: str | None, delivery: Delivery | None
    ) -> Job:
        values = values_of(job)
        places = ", ".join("?" * len(values))
        async with self._database.together() as database:
            if job.idempotency_key is not None:
                found = await self.with_key(job.owner, job.idempotency_key)
                if found is not None:
                    return same(found, job)
            if await self.status_of(job.id) is not None:
                raise exists(job.id)
            if max_queued is not None:
                queued = "SELECT count(*) FROM jobs WHERE status = ?"
                if await database.one(queued, (JobStatus.QUEUED,)) >= max_queued:
                    raise QueueFull(f"{max_queued} jobs are queued already (jobs.max_queued).")
            sql = f"INSERT INTO jobs ({COLUMNS}) VALUES ({places})"  # noqa: S608
            await database.execute(sql, values)
            await self.add_result(job.id, transcript, delivery)
        return job

    async def with_key(self, owner: str, key: str) -> Job | None:
        """Return the job that an owner has made with an idempotency key."""
        found = await self._jobs("WHERE owner = ? AND idempotency_key = ?", (owner, key))
        return found[0] if found else None

    async def find(self, job_id: str) -> Job | None:
        """Return a job."""
        found = await self._jobs("WHERE id = ?", (job_id,))
        return found[0] if found else None

    async def status_of(self, job_id: str) -> JobStatus | None:
        """Return a job's status, also of one that cannot be read."""
        found = await self._database.one("SELECT status FROM jobs WHERE id = ?", (job_id,))
        return None if found is None else _status(found)

    async def page(
        self,
        *,
        owner: str | None,
        status: JobStatus | None = None,
        limit: int,
        after: str | None = None,
    ) -> Sequence[Job]:
        """Return the newest jobs, those older than `after`; `owner` None: everybody's."""
        wheres, values = ["1"], list[object]()
        if owner is not None:
            wheres.append("owner = ?")
            values.append(owner)
        if status is not None:
            wheres.append("status = ?")
            values.append(status)
        if after is not None:
            wheres.append("number < (SELECT number FROM jobs WHERE id = ?)")
            values.append(after)
        where = " AND ".join(wheres)
        return await self._jobs(f"WHERE {where} ORDER BY number DESC LIMIT ?", (*values, limit))

    async def take(self, *, now_s: float) -> Job | None:
        """Begin the oldest queued job that may be and return it; None: there is none."""
        sql = (
            "UPDATE jobs SET status = ?, started_s = ?, attempts = attempts + 1, "  # noqa: S608
            "not_before_s = NULL WHERE number = "
            f"(SELECT number FROM jobs WHERE status = ? AND NOT is_elsewhere "
            f"AND {IS_TIME} ORDER BY number LIMIT 1) "
            f"RETURNING {COLUMNS}"
        )
        values = (JobStatus.RUNNING, now_s, JobStatus.QUEUED, now_s, now_s)
        rows = await self._database.change(sql, values)
        return job_of(rows[0]) if rows else None

    async def next_to_fetch(
        self, *, now_s: float, but_jobs: Sequence[str], but_owners: Sequence[str]
    ) -> Job | None:
        """Return the oldest queued job whose audio is to be fetched; None: there is none."""
        where = (
            "WHERE is_elsewhere AND status = ? "  # noqa: S608 - all of it is written here
            f"AND {IS_TIME} "
            "AND id NOT IN (SELECT value FROM json_each(?)) "
            "AND owner NOT IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT 1"
        )
        found = await self._jobs(
            where,
            (JobStatus.QUEUED, now_s, now_s, json.dumps(but_jobs), json.dumps(but_owners)),
        )
        return found[0] if found else None

    async def next_begin_s(self, *, now_s: float) -> float | None:
        """Return when a queued job that was put off may be begun next; None: there is none."""
        sql = "SELECT min(not_before_s) FROM jobs WHERE status = ? AND not_before_s > ?"
        found: float | None = await self._database.one(sql, (JobStatus.QUEUED, now_s))
        return found

    async def requeue(self) -> int:
        """Queue what was running when the process ended; return how many that were."""
        sql = "UPDATE jobs SET status = ?, started_s = NULL WHERE status = ?"
        return await self._database.write(sql, (JobStatus.QUEUED, JobStatus.RUNNING))

    async def put_back(self, job_id: str, *, not_before_s: float | None = None) -> None:
        """Queue a job again: the process is about to end, or it is put off because it failed."""
        failed = 0 if not_before_s is None else 1
        await self._database.write(
            "UPDATE jobs SET status = ?, started_s = NULL, not_before_s = ?, "
            "failures = failures + ? WHERE id = ? AND status IN (?, ?)",
            (JobStatus.QUEUED, not_before_s, failed, job_id, JobStatus.RUNNING, JobStatus.QUEUED),
        )

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
        end = _End(
            status=status,
            now_s=now_s,
            percent=100.0 if status is JobStatus.COMPLETED else percent,
            duration_s=None if transcript is None else transcript.duration_s,
            transcript=None
            if transcript is None
            else await self.in_thread(dump_transcript, transcript),
            error=error,
            delivery=delivery,
        )
        return await asyncio.shield(self._finish(job_id, end))

    async def _finish(self, job_id: str, end: "_End") -> bool:
        async with self._database.together() as database:
            changed = await database.execute(
                "UPDATE jobs SET status = ?, ended_s = ?, percent = ?, duration_s = ?, error = ?, "
                "is_elsewhere = 0, not_before_s = NULL WHERE id = ? AND status IN (?, ?)",
                (
                    end.status,
                    end.now_s,
                    end.percent,
                    end.duration_s,
                    None if end.error is None else json.dumps(end.error),
                    job_id,
                    JobStatus.QUEUED,
                    JobStatus.RUNNING,
                ),
            )
            if not changed:
                return False
            await database.execute("DELETE FROM chunks WHERE job = ?", (job_id,))
            await self.add_result(job_id, end.transcript, end.delivery)
        return True

    async def set_audio(self, job_id: str, audio: JobAudio) -> None:
        """Note where the job's audio is by now."""
        await self._database.write(
            "UPDATE jobs SET audio = ?, is_elsewhere = is_elsewhere AND ? WHERE id = ?",
            (dump_audio(audio), audio.path is None, job_id),
        )

    async def delete(self, job_id: str) -> None:
        """Erase a job and all that is known of it, but for what the log still has of it."""
        await self._database.write("DELETE FROM jobs WHERE id = ?", (job_id,))

    async def empty_log(self) -> None:
        """Have nothing left of what was erased."""
        await self._database.empty_log()

    async def ended_before(self, ended_s: float) -> Sequence[str]:
        """Return jobs that ended before a time, and of which nobody is to be told any more."""
        sql = f"SELECT id FROM jobs WHERE ended_s < ? AND NOT {IS_TOLD}"  # noqa: S608
        return [row[0] for row in await self._database.read(sql, (ended_s,))]

    async def counts(self) -> Mapping[JobStatus, int]:
        """Return how many jobs there are of each status that there is."""
        rows = await self._database.read("SELECT status, count(*) FROM jobs GROUP BY status")
        counts = Counter[JobStatus]()
        for status, count in rows:
            counts[_status(status)] += count
        return counts

    async def ahead_of(self, job: Job) -> int:
        """Return how many jobs are begun before a queued one."""
        sql = (
            "SELECT count(*) FROM jobs WHERE status = ? "
            "AND number < (SELECT number FROM jobs WHERE id = ?)"
        )
        count: int = await self._database.one(sql, (JobStatus.QUEUED, job.id))
        return count

    async def usual_s(self) -> float | None:
        """Return how long the latest jobs took on average; None: there is none yet."""
        sql = (
            "SELECT avg(ended_s - started_s) FROM (SELECT ended_s, started_s FROM jobs "
            "WHERE ended_s IS NOT NULL AND +status = ? AND started_s IS NOT NULL "
            "ORDER BY ended_s DESC LIMIT ?)"
        )
        found: float | None = await self._database.one(sql, (JobStatus.COMPLETED, LATEST))
        return found

    async def _jobs(self, where: str, values: Sequence[object]) -> Sequence[Job]:
        sql = f"SELECT {COLUMNS} FROM jobs {where}"  # noqa: S608 - all of it is written here
        rows = await self._database.read(sql, values)
        if len(rows) <= IN_LOOP:
            return [job_of(row) for row in rows]
        return await self.in_thread(lambda: [job_of(row) for row in rows])


def same(found: Job, job: Job) -> Job:
    """Return the job that was made with the same key, if it was made of the same request.

    Raises:
        IdempotencyKeyReused: it was not.
    """
    if None not in (found.fingerprint, job.fingerprint) and found.fingerprint != job.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was sent before, with another request; a new one needs a new key."
        )
    return found


def _status(text: str) -> JobStatus:
    """Return a status; one of another version counts as failed."""
    return JobStatus(text) if text in set(JobStatus) else JobStatus.FAILED
