"""What is kept of jobs, and for how long: their audio, their results, themselves."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from whisper_router.errors import Unavailable
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.model import ENDED
from whisper_router.jobs.needs import JobLimits
from whisper_router.jobs.store import JobStore

log = structlog.get_logger(__name__)


class Keeping:
    """Erases what is kept no longer."""

    def __init__(
        self, store: JobStore, files: JobFiles, limits: JobLimits, clock: Callable[[], float]
    ) -> None:
        self._store, self._files, self._limits, self._clock = store, files, limits, clock
        self._emptying = asyncio.Lock()
        self._erased = self._emptied = 0

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            wait_s = self._limits.sweep_s
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("jobs_not_swept", reason=str(error))
                wait_s = self._limits.hold_off_s
            except Exception:
                log.exception("jobs_not_swept")
                wait_s = self._limits.hold_off_s
            await asyncio.sleep(wait_s)

    async def sweep(self) -> None:
        """Erase jobs whose time is over, and audio that a job's end has left.

        A job that somebody is still to be told of stays until then, without result and audio.
        """
        limit_s = self._clock() - self._limits.keep_s
        over = await self._store.ended_before(limit_s)
        for job_id in over:
            await self._erase(job_id)
            log.info("job_erased", job=job_id)
        told_late = await self._store.erase_results(limit_s)
        for job_id in told_late:
            await self._erase_audio(job_id)
        if over or told_late:
            self._erased += 1
            await self._empty_log()
        await self._erase_left(orphans=False)

    async def erase(self, job_id: str) -> None:
        """Erase all that is known of a job; when this returns it is nowhere on the disk."""
        await self._erase(job_id)
        self._erased += 1
        await self._empty_log()
        log.info("job_erased", job=job_id)

    async def forget_audio(self, job_id: str) -> None:
        """Erase the audio of a job that has ended, unless it is to be kept."""
        if self._limits.keep_audio:
            return
        try:
            await self._erase_audio(job_id)
        except (Unavailable, OSError) as error:  # the next sweep finds it
            log.warning("audio_not_erased", job=job_id, reason=str(error))

    async def erase_orphans(self) -> None:
        """Delete files that no job needs: their upload, or their job's end, was cut short.

        Only for the time when nothing arrives.
        """
        await self._erase_left(orphans=True)

    async def _erase(self, job_id: str) -> None:
        await asyncio.to_thread(self._files.erase, job_id)
        await self._store.delete(job_id)

    async def _erase_audio(self, job_id: str) -> None:
        await asyncio.to_thread(self._files.erase, job_id)
        known = await self._store.find(job_id)
        if known is not None and known.audio.path is not None:
            await self._store.set_audio(job_id, replace(known.audio, path=None, pcm=None))

    async def _erase_left(self, *, orphans: bool) -> None:
        for path in await asyncio.to_thread(self._files.audio):
            status = await self._store.status_of(path.stem)
            is_over = status in ENDED and not self._limits.keep_audio
            if is_over or (orphans and status is None):
                await asyncio.to_thread(_unlink, path)

    async def _empty_log(self) -> None:
        """Empty the store's log; of many who want that at once one does it for those after it."""
        wanted = self._erased
        async with self._emptying:
            if self._emptied < wanted:
                now = self._erased
                await self._store.empty_log()
                self._emptied = now


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)
