"""Requests of dialects whose clients ask for their results later, by ids that they chose.

A request that is answered at once is kept as a job that has ended. One of the same id takes the
place of an ended one, but not before there is something to keep of it.
"""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from aiohttp import web

from whisper_router.api.auth import client_of
from whisper_router.api.deps import DEPS
from whisper_router.api.forms import Order
from whisper_router.api.job_making import NewJob, check_room, idempotency_key, make_job
from whisper_router.api.job_order import check_source
from whisper_router.api.noting import cancellable
from whisper_router.api.recognise import Sent, recognised
from whisper_router.domain import Client, Transcript
from whisper_router.errors import RouterError, Unavailable
from whisper_router.jobs.errors import JobExists
from whisper_router.jobs.model import Job, JobAudio, JobStatus, Webhook
from whisper_router.pipeline.progress import Tracker

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnId:
    """What the client of a dialect calls a request of its own."""

    dialect: str
    own_id: str

    def job_id(self, client: Client) -> str:
        """Return the id of its job: no other client's or dialect's is the same."""
        named = json.dumps([self.dialect, client.name, self.own_id])
        return f"job_{hashlib.sha256(named.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A request that is answered at once. `options` are its dialect's own; `webhook` is told."""

    id: OwnId
    options: Mapping[str, Any] = field(default_factory=dict)
    webhook: Webhook | None = None
    filename: str | None = None


Running = dict[tuple[str, OwnId], Kept]
RUNNING = web.AppKey("running", Running)
"""The requests that are being answered, by the names of their keys and their ids."""


def own_id_of(request: web.Request, given: str | None, usual: str) -> str:
    """Return the client's id of a request: as it is given, or one that its retries have, too."""
    if given is not None:
        return given
    key = idempotency_key(request)
    return usual if key is None else f"key-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def running(request: web.Request, dialect: str) -> Mapping[str, Kept]:
    """Return the caller's requests that are being answered, by their own ids."""
    owner = client_of(request).name
    return {
        own.own_id: kept
        for (name, own), kept in request.app[RUNNING].items()
        if name == owner and own.dialect == dialect
    }


async def find_kept(request: web.Request, own: OwnId) -> Job | None:
    """Return the caller's job by its own id."""
    jobs, client = request.app[DEPS].jobs, client_of(request)
    if jobs is None:
        return None
    job = await jobs.store.find(own.job_id(client))
    return job if job is not None and job.owner == client.name else None


async def make_kept_job(request: web.Request, own: OwnId, new: NewJob) -> Job:
    """Queue a job under the client's own id; what was sent before with its key is not made again.

    Raises:
        JobExists: one of this id is queued, running or being answered, or its webhook is owed.
        RouterError: as `make_job`.
    """
    deps, client, key = request.app[DEPS], client_of(request), idempotency_key(request)
    await check_room(request)
    has_file = new.upload is not None and new.upload.file is not None
    check_source(has_file=has_file, is_form=new.upload is not None, url=new.url)
    if new.url is not None:
        deps.fetcher.check(new.url)
    if (client.name, own) in request.app[RUNNING]:
        raise _exists(own, "being answered")
    is_known = (
        key is not None
        and deps.jobs is not None
        and await deps.jobs.store.with_key(client.name, key) is not None
    )
    if not is_known:
        await _erase(request, await _replaced(request, own))
    return await make_job(request, replace(new, id=own.job_id(client)))


async def recognise_kept(
    request: web.Request, order: Order, sent: Sent, tracker: Tracker, kept: Kept
) -> Transcript:
    """Return the transcript, and keep it, or the error, for who asks later.

    Raises:
        JobExists: as `make_kept_job`, before anything is done.
        RouterError: as `recognised`.
    """
    began_s = time.time()
    async with _answering(request, kept):
        with suppress(Unavailable):  # who waits for the answer gets it although none can be kept
            await _replaced(request, kept.id)
        try:
            with cancellable(request):
                transcript = await recognised(request.app[DEPS], order, sent, tracker)
        except RouterError as error:
            body = {**error.envelope()["error"], "status": error.status}
            failed = _job(request, order, sent, kept, began_s=began_s)
            await _record(request, kept, replace(failed, status=JobStatus.FAILED, error=body))
            raise
        done = _job(request, order, sent, kept, began_s=began_s)
        await _record(request, kept, replace(done, duration_s=transcript.duration_s), transcript)
        return transcript


@asynccontextmanager
async def _answering(request: web.Request, kept: Kept) -> AsyncIterator[None]:
    """Have the id for oneself until the block ends. Raises JobExists."""
    answered, name = request.app[RUNNING], (client_of(request).name, kept.id)
    if name in answered:
        raise _exists(kept.id, "being answered")
    answered[name] = kept
    try:
        yield
    finally:
        del answered[name]


async def _replaced(request: web.Request, own: OwnId) -> Job | None:
    """Return the ended job whose place the next one takes. Raises JobExists."""
    deps, job = request.app[DEPS], await find_kept(request, own)
    if job is None or deps.jobs is None:
        return None
    if not job.has_ended:
        raise _exists(own, job.status.value)
    owed = [item for item in await deps.jobs.store.deliveries(job.id) if item.next_s is not None]
    if owed:
        raise _exists(own, f"{job.status.value}, and its webhook is still to be called")
    return job


async def _erase(request: web.Request, job: Job | None) -> None:
    jobs = request.app[DEPS].jobs
    if jobs is not None and job is not None:
        await jobs.erase(job)


def _job(request: web.Request, order: Order, sent: Sent, kept: Kept, *, began_s: float) -> Job:
    name = None if sent.upload is None else sent.upload.filename
    client = client_of(request)
    return Job(
        id=kept.id.job_id(client),
        owner=client.name,
        status=JobStatus.COMPLETED,
        request=order.request,
        audio=JobAudio(url=sent.url, name=name or ""),
        options=kept.options,
        webhook=kept.webhook,
        created_s=began_s,
        started_s=began_s,
        ended_s=time.time(),
        attempts=1,
    )


async def _record(
    request: web.Request, kept: Kept, job: Job, transcript: Transcript | None = None
) -> None:
    """Keep what came of it. Who waits for the answer gets it although it cannot be kept.

    Raises:
        RouterError: it cannot be kept, and a webhook was to be called.
    """
    jobs = request.app[DEPS].jobs
    if jobs is None:
        return
    try:
        await _erase(request, await _replaced(request, kept.id))
        await jobs.record(job, transcript)
    except (Unavailable, JobExists) as error:
        log.warning("result_not_kept", job=job.id, reason=str(error))
        if kept.webhook is not None and transcript is not None:
            raise


def _exists(own: OwnId, state: str) -> JobExists:
    return JobExists(f"A request with the id '{own.own_id[:200]}' is {state}.")
