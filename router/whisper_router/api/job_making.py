"""Making a job: of a form, of JSON, or of what a dialect has understood."""

import asyncio
import hashlib
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from whisper_router import tracing
from whisper_router.api.access import require_scope
from whisper_router.api.auth import client_of, refuse_foreign_pages
from whisper_router.api.deps import DEPS, ApiDeps
from whisper_router.api.forms import Order
from whisper_router.api.job_errors import JobsUnavailable
from whisper_router.api.job_order import check_source, response_fields
from whisper_router.api.keys import Scope
from whisper_router.api.noting import forget
from whisper_router.api.recognise import named_url
from whisper_router.api.services import JobService
from whisper_router.audio.media import pcm_format
from whisper_router.audio.upload import Upload
from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import InvalidRequest, QueueFull, UrlRefused
from whisper_router.jobs.errors import IdempotencyKeyReused
from whisper_router.jobs.model import Job, JobAudio, JobStatus, Webhook
from whisper_router.jobs.webhook_headers import check_webhook

MAX_KEY = 255
ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What an id may be: it is the name of a file, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a job is to be made of.

    Of `fields`, the form, what says how the result is written is kept. `url` None: as the form
    says. An empty `id` is a new random one. `options` are its dialect's own; they are kept in
    `Job.options` beside `fields`.
    """

    order: Order
    fields: Sequence[tuple[str, str]] = ()
    upload: Upload | None = None
    url: str | None = None
    webhook: Webhook | None = None
    id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


async def make_job(request: web.Request, new: NewJob) -> Job:
    """Check everything, and queue the job; its upload is taken over.

    Whoever sends the same `Idempotency-Key` again gets the job that was made first.

    Raises:
        InsufficientScope: the key may make no jobs.
        JobsUnavailable: this server keeps no jobs.
        InvalidRequest: there is no audio, or two; an address, the webhook or the id cannot be.
        JobExists: there is a job of this id.
        IdempotencyKeyReused: the key stands for another request.
        QueueFull: too many wait.
        PermissionDenied: a page of another site names an address.
    """
    require_scope(request, Scope.JOBS)
    deps = request.app[DEPS]
    service, key = service_of(deps), idempotency_key(request)
    job_id = new.id or f"job_{uuid.uuid4().hex}"
    if not ID.fullmatch(job_id):
        raise InvalidRequest("A job's id has 1 to 128 letters, digits, '-' and '_'.")
    file = None if new.upload is None else new.upload.file
    url = named_url(request, new.fields) if new.url is None else new.url
    check_source(has_file=file is not None, is_form=new.upload is not None, url=url)
    if url is not None:
        deps.fetcher.check(url)
    if new.webhook is not None:
        check_target(request, new.webhook)
    owner = client_of(request).name
    job = Job(
        id=job_id,
        owner=owner,
        status=JobStatus.QUEUED,
        request=_for_any_format(deps, new.order.request, job_id),
        audio=_audio(new, url),
        options={**new.options, "fields": response_fields(new.fields)},
        webhook=new.webhook,
        idempotency_key=key,
        created_s=time.time(),
        keep_alive_s=new.order.keep_alive_s,
        fingerprint=None if key is None else await asyncio.to_thread(_fingerprint, new, url),
    )
    if key is not None and (made := await service.store.with_key(owner, key)) is not None:
        if made.fingerprint not in {None, job.fingerprint}:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was sent before, with another request; a new one needs a "
                "new key."
            )
    else:
        made = await service.submit(job, file)
    forget(request)
    return made


async def check_room(request: web.Request) -> None:
    """Refuse a request before its body is read, if no job could be made of it.

    Raises:
        JobsUnavailable, QueueFull, InvalidRequest: as `make_job`.
    """
    service, key = service_of(request.app[DEPS]), idempotency_key(request)
    if (await service.store.counts()).get(JobStatus.QUEUED, 0) < service.max_queued:
        return
    if key is None or await service.store.with_key(client_of(request).name, key) is None:
        raise QueueFull(f"{service.max_queued} jobs are queued already (jobs.max_queued).")


def service_of(deps: ApiDeps) -> JobService:
    """Return what runs jobs. Raises JobsUnavailable."""
    if deps.jobs is None:
        raise JobsUnavailable(
            "This server keeps no jobs: jobs.enabled is false, or their directory cannot be used "
            "(its log says why)."
        )
    return deps.jobs


def idempotency_key(request: web.Request) -> str | None:
    """Return the key of the `Idempotency-Key` header. Raises InvalidRequest."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > MAX_KEY:
        raise InvalidRequest(f"The Idempotency-Key header has more than {MAX_KEY} characters.")
    if not key.isprintable():  # aiohttp makes surrogates of bytes that are no UTF-8
        raise InvalidRequest("The Idempotency-Key header holds what cannot be printed.")
    return key or None


def check_target(request: web.Request, webhook: Webhook, *, param: str = "webhook") -> None:
    """Refuse a webhook that cannot be called. `param` is what the client calls it.

    Raises:
        JobsUnavailable: this server keeps no jobs, so it would be forgotten.
        InvalidRequest: its headers or its address are not acceptable.
        PermissionDenied: a page of another site wants it (`auth.refuse_foreign_pages`).
    """
    deps = request.app[DEPS]
    refuse_foreign_pages(request)
    service_of(deps)
    check_webhook(webhook, param=param)
    try:
        deps.fetcher.check(webhook.url)
    except UrlRefused as error:
        error.param = param
        raise


def _for_any_format(
    deps: ApiDeps, request: TranscriptionRequest, job_id: str
) -> TranscriptionRequest:
    """Return the request with times of words: the result may be asked for in any format later."""
    can_time = deps.processes.pool(request.model).capabilities.word_timestamps
    return replace(
        request,
        request_id=job_id,
        word_timestamps=can_time or request.word_timestamps,
        trace=tracing.current().headers(),
    )


def _audio(new: NewJob, url: str | None) -> JobAudio:
    if new.upload is None or new.upload.file is None:
        return JobAudio(url=url)
    return JobAudio(
        name=new.upload.filename or "",
        pcm=pcm_format(new.upload.content_type),
    )


def _fingerprint(new: NewJob, url: str | None) -> str:
    """Return what tells this request from others that may come with the same key. Blocking."""
    digest, request = hashlib.sha256(), new.order.request
    said = [request.model, request.task, url, sorted(new.fields), dict(new.options)]
    digest.update(json.dumps(said, default=str).encode())
    if new.upload is not None and new.upload.file is not None:
        with new.upload.file.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
