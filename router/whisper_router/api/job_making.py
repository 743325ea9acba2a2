"""SHIM, replaced by the mender's."""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import web

from whisper_router.api.auth import client_of
from whisper_router.api.deps import DEPS
from whisper_router.api.forms import Order
from whisper_router.api.job_order import response_fields
from whisper_router.api.jobs import service_of
from whisper_router.api.recognise import url_in
from whisper_router.audio.media import pcm_format
from whisper_router.audio.upload import Upload
from whisper_router.errors import RouterError
from whisper_router.jobs.model import Job, JobAudio, JobStatus, Webhook


class JobExists(RouterError):
    status, kind, code = 409, "invalid_request_error", "job_exists"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    order: Order
    fields: Sequence[tuple[str, str]] = ()
    upload: Upload | None = None
    url: str | None = None
    webhook: Webhook | None = None
    id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


async def make_job(request: web.Request, new: NewJob) -> Job:
    deps = request.app[DEPS]
    service = service_of(deps)
    job_id = new.id or f"job_{uuid.uuid4().hex}"
    if new.upload is not None and new.upload.file is not None:
        audio = JobAudio(
            path=await asyncio.to_thread(service.adopt, new.upload.file, job_id),
            name=new.upload.filename or "",
            pcm=pcm_format(new.upload.content_type),
        )
    else:
        audio = JobAudio(url=new.url or url_in(new.fields))
    return await service.submit(
        Job(
            id=job_id,
            owner=client_of(request).name,
            status=JobStatus.QUEUED,
            request=replace(new.order.request, request_id=job_id, word_timestamps=True),
            audio=audio,
            options={"fields": response_fields(new.fields), **new.options},
            webhook=new.webhook,
            created_s=time.time(),
        )
    )
