"""The HTTP API over a store of jobs that nobody runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from support.api_app import Api, NoProcesses, Setup, Start
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.runner import JobLimits, JobRunner
from whisper_router.jobs.sqlite import SqliteStore, open_store


class TimingProcesses(NoProcesses):
    """Every model places words in time."""

    def pool(self, name: str) -> SimpleNamespace:
        """Return as much of a pool as jobs look at."""
        del name
        return SimpleNamespace(capabilities=SimpleNamespace(word_timestamps=True))


@dataclass(kw_only=True)
class JobApi:
    """A running API, and what is behind it."""

    url: str
    api: Api
    runner: JobRunner
    store: SqliteStore


@asynccontextmanager
async def api_with_jobs(
    start: Start, folder: Path, *, max_queued: int = 2, **setup: object
) -> AsyncIterator[JobApi]:
    """Serve until the block ends; `setup` is what is to be different."""
    files = await asyncio.to_thread(JobFiles.open, folder)
    async with open_store(files.store) as store:
        runner = JobRunner(
            store=store,
            transcriber=None,
            files=files,
            fetcher=None,
            limits=JobLimits(max_running=1, max_queued=max_queued, keep_s=10.0),
            notice=lambda job, transcript: {},
        )
        async with start(Setup(jobs=runner, processes=TimingProcesses(), **setup)) as api:
            url = f"http://{api.host}:{api.port}/v1/jobs"
            yield JobApi(url=url, api=api, runner=runner, store=store)
    files.close()
