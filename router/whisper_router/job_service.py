"""Jobs over a whole router, where they can be kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from whisper_router.api.notices import notice
from whisper_router.api.noting import ended_job
from whisper_router.app import Router
from whisper_router.audio.fetch_url import UrlFetcher
from whisper_router.audio.outbound import Outbound
from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.jobs.files import JobFiles
from whisper_router.jobs.needs import InUse, Transcriber
from whisper_router.jobs.runner import JobLimits, JobRunner
from whisper_router.jobs.sqlite import open_store
from whisper_router.jobs.webhooks import WebhookOptions, WebhookSender
from whisper_router.pipeline.activity import ActivityBoard
from whisper_router.places import jobs_directory
from whisper_router.tasks import Tasks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParts:
    """What jobs share with requests: who does the work, and who is told that they have ended."""

    fetcher: UrlFetcher
    in_use: InUse
    transcriber: Transcriber
    activity: ActivityBoard


@asynccontextmanager
async def running_jobs(
    router: Router, outbound: Outbound, parts: JobParts
) -> AsyncIterator[JobRunner | None]:
    """Run jobs, and call their webhooks, until the block ends; None: there are none here.

    Raises:
        ConfigurationError: the directory that is configured for them cannot be used.
    """
    settings = router.settings.jobs
    if not settings.enabled:
        yield None
        return
    async with AsyncExitStack() as stack:
        try:
            runner = await _opened(stack, router, parts)
        except (ConfigurationError, RouterError, RuntimeError) as error:
            if settings.directory is not None:
                raise ConfigurationError(str(error)) from error
            log.warning("jobs_unavailable", reason=str(error))
            yield None
            return
        tasks = Tasks()
        stack.push_async_callback(tasks.close_in_full)
        sender = WebhookSender(
            store=runner.store,
            outbound=outbound,
            options=WebhookOptions(timeout_s=router.settings.outbound.webhook_timeout_s),
            wake=runner.delivery_due,
        )
        tasks.spawn(sender.run(), name="call webhooks")
        yield runner


async def _opened(stack: AsyncExitStack, router: Router, parts: JobParts) -> JobRunner:
    """Return what runs jobs, to be closed with `stack`.

    Raises:
        ConfigurationError, RouterError: the directory or the store cannot be used.
        RuntimeError: there is no home directory.
    """
    settings, directory = router.settings.jobs, jobs_directory(router.settings)
    async with AsyncExitStack() as own:
        files = own.enter_context(await asyncio.to_thread(JobFiles.open, directory))
        store = await own.enter_async_context(open_store(files.store))
        runner = JobRunner(
            store=store,
            transcriber=parts.transcriber,
            files=files,
            fetcher=parts.fetcher,
            limits=JobLimits(
                max_running=settings.max_running,
                max_queued=settings.max_queued,
                keep_s=settings.keep_s,
                keep_audio=settings.keep_audio,
            ),
            notice=notice,
            in_use=parts.in_use,
        )
        runner.on_end(lambda job: parts.activity.add(ended_job(job)))
        own.push_async_callback(runner.close)
        await runner.open()
        stack.push_async_exit(own.pop_all())
    return runner
