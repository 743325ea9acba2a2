"""Jobs in one SQLite file (write-ahead log), which is all that a server of its own needs."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite

from whisper_router.domain import LanguageDetected, Segment, Transcript
from whisper_router.errors import ConfigurationError
from whisper_router.jobs.codec import dump_events, dump_transcript, load_events, load_transcript
from whisper_router.jobs.model import Delivery, Job, JobAudio, JobStatus
from whisper_router.jobs.rows import (
    COLUMNS,
    PRAGMAS,
    SCHEMA,
    VERSION,
    delivery_of,
    dump_audio,
    dump_webhook,
    job_of,
    values_of,
)

Json = Mapping[str, Any]


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator["SqliteStore"]:
    """Open the file, or make it, readable for its owner alone; close it at the end.

    Raises:
        ConfigurationError: it is not ours, of a newer version, or cannot be written.
    """
    try:
        await asyncio.to_thread(_make, path)
        database = await aiosqlite.connect(path, isolation_level=None)
    except (OSError, aiosqlite.Error) as error:
        raise ConfigurationError(f"the job store {path} cannot be used: {error}") from error
    try:
        database.row_factory = aiosqlite.Row
        await _prepare(database, path)
        yield SqliteStore(database)
    finally:
        await database.close()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    status: JobStatus
    now_s: float
    transcript: Transcript | None
    error: Json | None
    delivery: Delivery | None


async def _prepare(database: aiosqlite.Connection, path: Path) -> None:
    try:
        for pragma in PRAGMAS:
            await database.execute(pragma)
        version = await _one(database, "PRAGMA user_version")
        if version == 0:
            await database.executescript(
                f"BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;"
            )
        elif version != VERSION:
            raise ConfigurationError(
                f"the job store {path} is of version {version}; this program knows {VERSION}"
            )
    except aiosqlite.Error as error:
        raise ConfigurationError(f"the job store {path} cannot be used: {error}") from error


async def _one(database: aiosqlite.Connection, sql: str, values: Sequence[object] = ()) -> Any:
    async with database.execute(sql, values) as cursor:
        row = await cursor.fetchone()
    return None if row is None else row[0]


class SqliteStore:
    """Implements `JobStore`. One connection, whose thread does one thing after the other.

    Nobody else writes while several statements are to take effect together, and whoever waits for
    them may be cancelled without ending them half-way.
    """

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database
        self._writing = asyncio.Lock()

    async def add(self, job: Job) -> Job:
        """Keep a new job; return it, or the one that its owner made with the same key before."""
        values = values_of(job)
        places = ", ".join("?" * len(values))
        sql = f"INSERT OR IGNORE INTO jobs ({COLUMNS}) VALUES ({places})"  # noqa: S608
        if await self._write(sql, values):
            return job
        found = await self._jobs(
            "WHERE owner = ? AND idempotency_key = ?", (job.owner, job.idempotency_key)
        )
        return found[0]

    async def find(self, job_id: str) -> Job | None:
        """Return a job."""
        found = await self._jobs("WHERE id = ?", (job_id,))
        return found[0] if found else None

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
        """Begin the oldest queued job and return it; None: there is none."""
        sql = (
            "UPDATE jobs SET status = ?, started_s = ?, attempts = attempts + 1 WHERE number = "
            "(SELECT number FROM jobs WHERE status = ? ORDER BY number LIMIT 1) RETURNING id"
        )
        async with self._writing:
            values = (JobStatus.RUNNING, now_s, JobStatus.QUEUED)
            job_id = await _one(self._database, sql, values)
        return None if job_id is None else await self.find(job_id)

    async def requeue(self) -> int:
        """Queue what was running when the process ended; return how many that were."""
        sql = "UPDATE jobs SET status = ?, started_s = NULL WHERE status = ?"
        return await self._write(sql, (JobStatus.QUEUED, JobStatus.RUNNING))

    async def put_back(self, job_id: str) -> None:
        """Queue a running job again: the process is about to end."""
        await self._write(
            "UPDATE jobs SET status = ?, started_s = NULL WHERE id = ? AND status = ?",
            (JobStatus.QUEUED, job_id, JobStatus.RUNNING),
        )

    async def finish(
        self,
        job_id: str,
        status: JobStatus,
        *,
        now_s: float,
        transcript: Transcript | None = None,
        error: Json | None = None,
        delivery: Delivery | None = None,
    ) -> bool:
        """End a job, with its result, and note whom to tell. False: it had ended before."""
        end = _End(
            status=status, now_s=now_s, transcript=transcript, error=error, delivery=delivery
        )
        return await asyncio.shield(self._finish(job_id, end))

    async def _finish(self, job_id: str, end: "_End") -> bool:
        transcript, delivery = end.transcript, end.delivery
        duration_s = None if transcript is None else transcript.duration_s
        async with self._together():
            async with self._database.execute(
                "UPDATE jobs SET status = ?, ended_s = ?, duration_s = ?, error = ? "
                "WHERE id = ? AND status IN (?, ?)",
                (
                    end.status,
                    end.now_s,
                    duration_s,
                    None if end.error is None else json.dumps(end.error),
                    job_id,
                    JobStatus.QUEUED,
                    JobStatus.RUNNING,
                ),
            ) as cursor:
                if not cursor.rowcount:
                    return False
            await self._database.execute("DELETE FROM chunks WHERE job = ?", (job_id,))
            if transcript is not None:
                await self._database.execute(
                    "INSERT INTO transcripts (job, body) VALUES (?, ?)",
                    (job_id, dump_transcript(transcript)),
                )
            if delivery is not None:
                await self._database.execute(
                    "INSERT INTO deliveries (id, job, webhook, body, next_s) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (
                        delivery.id,
                        job_id,
                        dump_webhook(delivery.webhook),
                        delivery.body,
                        delivery.next_s,
                    ),
                )
        return True

    async def transcript(self, job_id: str) -> Transcript | None:
        """Return the result of a completed job."""
        body = await _one(self._database, "SELECT body FROM transcripts WHERE job = ?", (job_id,))
        return None if body is None else load_transcript(body)

    async def chunks(
        self, job_id: str
    ) -> Mapping[tuple[int, int], Sequence[LanguageDetected | Segment]]:
        """Return what the job's chunks gave, by their samples `[start, end)`."""
        sql = 'SELECT start, "end", events FROM chunks WHERE job = ?'
        async with self._database.execute(sql, (job_id,)) as cursor:
            rows = await cursor.fetchall()
        return {(row["start"], row["end"]): load_events(row["events"]) for row in rows}

    async def keep_chunk(
        self, job_id: str, start: int, end: int, events: Sequence[LanguageDetected | Segment]
    ) -> None:
        """Keep what a chunk gave, unless the job has ended meanwhile."""
        await self._write(
            'INSERT OR REPLACE INTO chunks (job, start, "end", events) '
            "SELECT id, ?, ?, ? FROM jobs WHERE id = ? AND status = ?",
            (start, end, dump_events(events), job_id, JobStatus.RUNNING),
        )

    async def set_audio(self, job_id: str, audio: JobAudio) -> None:
        """Note where the job's audio is by now."""
        sql = "UPDATE jobs SET audio = ? WHERE id = ?"
        await self._write(sql, (dump_audio(audio), job_id))

    async def delete(self, job_id: str) -> None:
        """Erase a job and all that is known of it."""
        await self._write("DELETE FROM jobs WHERE id = ?", (job_id,))

    async def ended_before(self, ended_s: float) -> Sequence[Job]:
        """Return jobs that ended before a time."""
        return await self._jobs("WHERE ended_s < ?", (ended_s,))

    async def counts(self) -> Mapping[JobStatus, int]:
        """Return how many jobs there are of each status that there is."""
        sql = "SELECT status, count(*) FROM jobs GROUP BY status"
        async with self._database.execute(sql) as cursor:
            return {JobStatus(row[0]): row[1] for row in await cursor.fetchall()}

    async def ahead_of(self, job: Job) -> int:
        """Return how many jobs are begun before a queued one."""
        sql = (
            "SELECT count(*) FROM jobs WHERE status = ? "
            "AND number < (SELECT number FROM jobs WHERE id = ?)"
        )
        count: int = await _one(self._database, sql, (JobStatus.QUEUED, job.id))
        return count

    async def deliveries(self, job_id: str) -> Sequence[Delivery]:
        """Return whom the job's end was told, or is to be."""
        return await self._deliveries("WHERE job = ?", (job_id,))

    async def due(self, *, now_s: float, limit: int) -> Sequence[Delivery]:
        """Return deliveries that are to be tried now."""
        return await self._deliveries("WHERE next_s <= ? ORDER BY next_s LIMIT ?", (now_s, limit))

    async def next_due_s(self) -> float | None:
        """Return when the next delivery is to be tried; None: there is none."""
        found: float | None = await _one(self._database, "SELECT min(next_s) FROM deliveries")
        return found

    async def tried(
        self, delivery_id: str, *, entry: Json, next_s: float | None, delivered_s: float | None
    ) -> None:
        """Note an attempt, and when the next one is; None: there is none."""
        await self._write(
            "UPDATE deliveries SET attempts = attempts + 1, next_s = ?, delivered_s = ?, "
            "log = json_insert(log, '$[#]', json(?)) WHERE id = ?",
            (next_s, delivered_s, json.dumps(entry), delivery_id),
        )

    async def _write(self, sql: str, values: Sequence[object]) -> int:
        """Run one statement; return how many rows it has changed."""
        async with self._writing, self._database.execute(sql, values) as cursor:
            return cursor.rowcount

    @asynccontextmanager
    async def _together(self) -> AsyncIterator[None]:
        """Do all of the block or, if it raises, nothing of it."""
        async with self._writing:
            await self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                await self._database.execute("ROLLBACK")
                raise
            await self._database.execute("COMMIT")

    async def _jobs(self, where: str, values: Sequence[object]) -> Sequence[Job]:
        sql = f"SELECT {COLUMNS} FROM jobs {where}"  # noqa: S608 - all of it is written here
        async with self._database.execute(sql, values) as cursor:
            return [job_of(row) for row in await cursor.fetchall()]

    async def _deliveries(self, where: str, values: Sequence[object]) -> Sequence[Delivery]:
        sql = f"SELECT * FROM deliveries {where}"  # noqa: S608 - all of it is written here
        async with self._database.execute(sql, values) as cursor:
            return [delivery_of(row) for row in await cursor.fetchall()]
