"""Results in the SQLite file: of whole jobs, and of the chunks of those that run."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from whisper_router.domain import LanguageDetected, Segment, Transcript
from whisper_router.jobs.codec import dump_events, load_events, load_transcript
from whisper_router.jobs.database import Database
from whisper_router.jobs.model import Delivery, JobStatus
from whisper_router.jobs.rows import dump_webhook

AT_ONCE = 2
"""How many threads are busy with long results."""

Given = ParamSpec("Given")
Result = TypeVar("Result")


class SqliteResults:
    """The part of `JobStore` that is about results. They are made text, and back, in threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._places = asyncio.Semaphore(AT_ONCE)

    async def in_thread(
        self, work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Return what some work returns, once there is room for it."""
        async with self._places:
            return await asyncio.to_thread(work, *args, **kwargs)

    async def transcript(self, job_id: str) -> Transcript | None:
        """Return the result of a completed job."""
        body = await self._database.one("SELECT body FROM transcripts WHERE job = ?", (job_id,))
        return None if body is None else await self.in_thread(load_transcript, body)

    async def chunks(
        self, job_id: str
    ) -> Mapping[tuple[int, int], Sequence[LanguageDetected | Segment]]:
        """Return what the job's chunks gave, by their samples `[start, end)`."""
        sql = 'SELECT start, "end", events FROM chunks WHERE job = ?'
        rows = await self._database.read(sql, (job_id,))

        def load() -> Mapping[tuple[int, int], Sequence[LanguageDetected | Segment]]:
            return {(row["start"], row["end"]): load_events(row["events"]) for row in rows}

        return await self.in_thread(load)

    async def keep_chunk(
        self, job_id: str, start: int, end: int, events: Sequence[LanguageDetected | Segment]
    ) -> None:
        """Keep what a chunk gave, unless the job has ended meanwhile."""
        await self._database.write(
            'INSERT OR REPLACE INTO chunks (job, start, "end", events) '
            "SELECT id, ?, ?, ? FROM jobs WHERE id = ? AND status = ?",
            (start, end, dump_events(events), job_id, JobStatus.RUNNING),
        )

    async def erase_results(self, ended_s: float) -> Sequence[str]:
        """Erase the texts of jobs that ended before a time; return which have one no more."""
        sql = (
            "DELETE FROM transcripts WHERE job IN "
            "(SELECT id FROM jobs WHERE ended_s < ?) RETURNING job"
        )
        return [row[0] for row in await self._database.change(sql, (ended_s,))]

    async def add_result(
        self, job_id: str, transcript: str | None, delivery: Delivery | None
    ) -> None:
        """Keep what a job has ended with; for a transaction."""
        if transcript is not None:
            await self._database.execute(
                "INSERT INTO transcripts (job, body) VALUES (?, ?)", (job_id, transcript)
            )
        if delivery is not None:
            webhook = dump_webhook(delivery.webhook)
            await self._database.execute(
                "INSERT INTO deliveries (id, job, webhook, body, next_s) VALUES (?, ?, ?, ?, ?)",
                (delivery.id, job_id, webhook, delivery.body, delivery.next_s),
            )
