"""How jobs end: it is written, their audio is erased, and whoever waits for it is told."""

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from whisper_router.domain import Transcript
from whisper_router.errors import Unavailable
from whisper_router.jobs.keeping import Keeping
from whisper_router.jobs.model import Delivery, Job, JobStatus
from whisper_router.jobs.needs import Notice
from whisper_router.jobs.store import JobStore
from whisper_router.metrics import JOBS_ENDED

LONGEST_PAUSE_S = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """What a job ends with."""

    status: JobStatus
    percent: float = 0.0
    transcript: Transcript | None = None
    error: Mapping[str, Any] | None = None


class Ends:
    """Writes the ends of jobs. Who is cancelled meanwhile has not ended them, or in full."""

    def __init__(
        self,
        store: JobStore,
        keeping: Keeping,
        *,
        notice: Notice,
        clock: Callable[[], float],
        tell: Callable[[str], None],
        pause_s: float,
    ) -> None:
        """`tell` is called with the id of each job that has ended.

        What could not be written is tried again after `pause_s`, and then after longer and longer.
        """
        self._store, self._keeping, self._notice = store, keeping, notice
        self._clock, self._tell, self._pause_s = clock, tell, pause_s
        self.listeners: list[Callable[[Job], None]] = []
        """Are called with each job that has ended."""
        self.delivery_due = asyncio.Event()
        """Is set when a webhook is to be called."""

    async def end(self, job: Job, end: End) -> bool:
        """End a job. False: it had ended before.

        Raises:
            Unavailable: that could not be written.
        """
        now_s = self._clock()
        known = await self._store.find(job.id)
        if known is not None and known.error is None:  # what was fetched is known there only
            job = known
        duration_s = None if end.transcript is None else end.transcript.duration_s
        ended = replace(
            job,
            status=end.status,
            ended_s=now_s,
            duration_s=duration_s,
            error=end.error,
            percent=end.percent,
        )
        has_ended = await self._store.finish(
            job.id,
            end.status,
            now_s=now_s,
            percent=end.percent,
            transcript=end.transcript,
            error=end.error,
            delivery=await self.delivery(ended, end.transcript),
        )
        if has_ended:
            JOBS_ENDED.labels(end.status.value).inc()
            log.info("job_ended", job=job.id, status=end.status)
            for listener in self.listeners:
                listener(ended)
            await self._keeping.forget_audio(job.id)
            self.delivery_due.set()
            self._tell(job.id)
        return has_ended

    async def end_at_last(self, job: Job, end: End) -> bool:
        """End a job, as often as it takes until it is written."""
        pause_s = self._pause_s
        while True:
            try:
                return await self.end(job, end)
            except Unavailable as error:
                log.warning("job_end_not_written", job=job.id, reason=str(error), wait_s=pause_s)
            except Exception:
                log.exception("job_end_not_written", job=job.id, wait_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def put_off(self, job: Job, *, not_before_s: float | None) -> None:
        """Queue a job again, as often as it takes until it is written."""
        pause_s = self._pause_s
        while True:
            try:
                return await self._store.put_back(job.id, not_before_s=not_before_s)
            except Unavailable as error:
                log.warning("job_not_put_back", job=job.id, reason=str(error), wait_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def delivery(self, ended: Job, transcript: Transcript | None) -> Delivery | None:
        """Return whom to tell of an ended job; None: nobody."""
        if ended.webhook is None:
            return None
        try:
            body = await asyncio.to_thread(self._body, ended, transcript)
        except Exception:  # a job ends although nothing can be said of it
            log.exception("notice_not_made", job=ended.id)
            return None
        return Delivery(
            id=f"msg_{uuid.uuid4().hex}",
            job_id=ended.id,
            webhook=ended.webhook,
            body=body,
            next_s=self._clock(),
        )

    def _body(self, ended: Job, transcript: Transcript | None) -> str:
        return json.dumps(self._notice(ended, transcript), ensure_ascii=False)
