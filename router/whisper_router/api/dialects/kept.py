"""Requests of dialects whose clients ask for their results later, by ids that they chose."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from whisper_router.api.auth import client_of
from whisper_router.api.deps import DEPS
from whisper_router.api.forms import Order
from whisper_router.api.recognise import Sent, recognised
from whisper_router.domain import Client, Transcript
from whisper_router.errors import RouterError
from whisper_router.jobs.errors import JobExists
from whisper_router.jobs.model import Job, JobAudio, JobStatus, Webhook
from whisper_router.pipeline.progress import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a request that is answered at once is kept, as a job that has ended.

    `own_id` is the client's id of it, `options` are those of its dialect, `webhook` is told.
    """

    own_id: str
    options: Mapping[str, Any] = field(default_factory=dict)
    webhook: Webhook | None = None


def job_id_of(client: Client, own_id: str) -> str:
    """Return the id of the job that a client calls by an id of its own: no other's is the same."""
    digest = hashlib.sha256(json.dumps([client.name, own_id]).encode()).hexdigest()
    return f"job_{digest[:32]}"


async def find_kept(request: web.Request, own_id: str) -> Job | None:
    """Return the caller's job by its own id, or by the job's."""
    jobs, client = request.app[DEPS].jobs, client_of(request)
    if jobs is None:
        return None
    for job_id in (job_id_of(client, own_id), own_id):
        job = await jobs.store.find(job_id)
        if job is not None and job.owner == client.name:
            return job
    return None


async def make_room(request: web.Request, own_id: str) -> None:
    """Forget an ended request of the same id: a client may count from one again.

    Raises:
        JobExists: one of this id is queued or running.
    """
    deps, client = request.app[DEPS], client_of(request)
    if deps.jobs is None:
        return
    job = await deps.jobs.store.find(job_id_of(client, own_id))
    if job is None:
        return
    if not job.has_ended:
        raise JobExists(f"A request with the id '{own_id[:200]}' is {job.status.value}.")
    await deps.jobs.erase(job)


async def recognise_kept(
    request: web.Request, order: Order, sent: Sent, tracker: Tracker, kept: Kept
) -> Transcript:
    """Return the transcript, and keep it, or the error, for who asks later.

    Raises:
        RouterError: as `recognised`.
    """
    deps, began_s = request.app[DEPS], time.time()
    job = Job(
        id=job_id_of(client_of(request), kept.own_id),
        owner=client_of(request).name,
        status=JobStatus.COMPLETED,
        request=order.request,
        audio=JobAudio(
            url=sent.url, name=(sent.upload.filename or "") if sent.upload is not None else ""
        ),
        options=kept.options,
        webhook=kept.webhook,
        created_s=began_s,
        started_s=began_s,
        attempts=1,
    )
    try:
        transcript = await recognised(deps, order, sent, tracker)
    except RouterError as error:
        if deps.jobs is not None:
            body = {**error.envelope()["error"], "status": error.status}
            failed = replace(job, status=JobStatus.FAILED, error=body, ended_s=time.time())
            await deps.jobs.record(failed, None)
        raise
    if deps.jobs is not None:
        ended = replace(job, ended_s=time.time(), duration_s=transcript.duration_s)
        await deps.jobs.record(ended, transcript)
    return transcript
