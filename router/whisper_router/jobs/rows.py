"""Rows of the SQLite store as jobs and deliveries."""

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import structlog

from whisper_router.domain import TranscriptionRequest
from whisper_router.errors import SERVER_ERROR
from whisper_router.jobs.codec import dump_pcm, dump_request, load_pcm, load_request
from whisper_router.jobs.model import Delivery, Job, JobAudio, JobStatus, Webhook

COLUMNS = (
    "id, owner, status, request, audio, options, webhook, idempotency_key, "
    "created_s, started_s, ended_s, duration_s, error, attempts, "
    "failures, not_before_s, percent, keep_alive_s, fingerprint, is_elsewhere"
)
UNREADABLE = {
    "message": "What is kept of the job cannot be read.",
    "type": SERVER_ERROR,
    "param": None,
    "code": "job_unreadable",
    "status": 500,
}
"""The error of a job whose row is damaged, or of another version of this program."""

log = structlog.get_logger(__name__)


def values_of(job: Job) -> tuple[object, ...]:
    """Return what a new job's row holds, in the order of `COLUMNS`."""
    return (
        job.id,
        job.owner,
        job.status,
        dump_request(job.request),
        dump_audio(job.audio),
        json.dumps(job.options),
        dump_webhook(job.webhook),
        job.idempotency_key,
        job.created_s,
        job.started_s,
        job.ended_s,
        job.duration_s,
        None if job.error is None else json.dumps(job.error),
        job.attempts,
        job.failures,
        job.not_before_s,
        job.percent,
        job.keep_alive_s,
        job.fingerprint,
        job.is_elsewhere,
    )


def job_of(row: sqlite3.Row) -> Job:
    """Return the job of a row; of one that cannot be read a job that has failed."""
    try:
        return _job(row)
    except (ValueError, TypeError, KeyError):  # pydantic's and json's errors are values
        log.warning("job_unreadable", job=str(row["id"])[:100])
        return _unreadable(row)


def _job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        owner=row["owner"],
        status=JobStatus(row["status"]),
        request=load_request(row["request"]),
        audio=_load_audio(row["audio"]),
        options=json.loads(row["options"]),
        webhook=_load_webhook(row["webhook"]),
        idempotency_key=row["idempotency_key"],
        created_s=row["created_s"],
        started_s=row["started_s"],
        ended_s=row["ended_s"],
        duration_s=row["duration_s"],
        error=None if row["error"] is None else json.loads(row["error"]),
        attempts=row["attempts"],
        failures=row["failures"],
        not_before_s=row["not_before_s"],
        percent=row["percent"],
        keep_alive_s=row["keep_alive_s"],
        fingerprint=row["fingerprint"],
    )


def _unreadable(row: sqlite3.Row) -> Job:
    try:
        webhook = _load_webhook(row["webhook"])
    except (ValueError, TypeError):
        webhook = None
    return Job(
        id=str(row["id"]),
        owner=str(row["owner"]),
        status=JobStatus.FAILED,
        request=TranscriptionRequest(model="", request_id=str(row["id"])),
        audio=JobAudio(),
        webhook=webhook,
        created_s=_seconds(row["created_s"]) or 0.0,
        ended_s=_seconds(row["ended_s"]),
        error=UNREADABLE,
    )


def _seconds(value: object) -> float | None:
    return value if isinstance(value, float) else None


def delivery_of(row: sqlite3.Row) -> Delivery:
    """Return the delivery of a row."""
    webhook = _load_webhook(row["webhook"])
    if webhook is None:
        raise RuntimeError("a delivery without a webhook")
    return Delivery(
        id=row["id"],
        job_id=row["job"],
        webhook=webhook,
        body=row["body"],
        attempts=row["attempts"],
        next_s=row["next_s"],
        delivered_s=row["delivered_s"],
        log=json.loads(row["log"]),
    )


def dump_audio(audio: JobAudio) -> str:
    """Return where a job's audio is as JSON."""
    path = None if audio.path is None else str(audio.path)
    pcm = dump_pcm(audio.pcm)
    return json.dumps({"path": path, "url": audio.url, "name": audio.name, "pcm": pcm})


def dump_webhook(webhook: Webhook | None) -> str | None:
    """Return whom to tell as JSON."""
    return None if webhook is None else json.dumps(asdict(webhook))


def _load_audio(text: str) -> JobAudio:
    body = json.loads(text)
    return JobAudio(
        path=None if body["path"] is None else Path(body["path"]),
        url=body["url"],
        name=body["name"],
        pcm=load_pcm(body["pcm"]),
    )


def _load_webhook(text: str | None) -> Webhook | None:
    return None if text is None else Webhook(**json.loads(text))
