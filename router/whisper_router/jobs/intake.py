"""Jobs that are new: with their audio, or with their result."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from whisper_router.domain import Transcript
from whisper_router.jobs.ends import Ends
from whisper_router.jobs.errors import exists
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.model import Job, JobStatus
from whisper_router.jobs.store import JobStore

log = structlog.get_logger(__name__)


class Intake:
    """Takes over files, and leaves none behind. Its methods are not to be cancelled half-way."""

    def __init__(
        self,
        store: JobStore,
        files: JobFiles,
        ends: Ends,
        *,
        max_queued: int,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called when a job is queued."""
        self._store, self._files, self._ends = store, files, ends
        self._max_queued, self._wake = max_queued, wake
        self._arriving = set[str]()

    async def submit(self, job: Job, upload: Path | None) -> Job:
        """Queue a new job; see `JobRunner.submit`."""
        if job.id in self._arriving:
            raise exists(job.id)
        self._arriving.add(job.id)
        try:
            if await self._store.status_of(job.id) is not None:
                raise exists(job.id)
            kept = await self._add(job, upload)
        finally:
            self._arriving.discard(job.id)
        if kept.id == job.id:
            log.info("job_queued", job=job.id, alias=job.request.model)
            self._wake()
        return kept

    async def record(self, job: Job, transcript: Transcript | None) -> Job:
        """Keep a job that has ended elsewhere; see `JobRunner.record`."""
        if transcript is not None:
            job = replace(job, duration_s=transcript.duration_s)
        if job.status is JobStatus.COMPLETED:
            job = replace(job, percent=100.0)
        delivery = await self._ends.delivery(job, transcript)
        kept = await self._store.record(job, transcript, delivery)
        if delivery is not None:
            self._ends.delivery_due.set()
        return kept

    async def _add(self, job: Job, upload: Path | None) -> Job:
        is_kept = False
        try:
            if upload is not None:
                path = await asyncio.to_thread(self._files.adopt, upload, job.id)
                job = replace(job, audio=replace(job.audio, path=path))
            kept = await self._store.add(job, max_queued=self._max_queued)
            is_kept = kept.id == job.id
        finally:
            if not is_kept:
                await asyncio.to_thread(self._files.erase, job.id)
        return kept
