"""The tables of the SQLite store, and its rows as jobs and deliveries."""

import json
from dataclasses import asdict
from pathlib import Path

import aiosqlite

from whisper_router.jobs.codec import dump_pcm, dump_request, load_pcm, load_request
from whisper_router.jobs.model import Delivery, Job, JobAudio, JobStatus, Webhook

VERSION = 1
SCHEMA = """
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  owner TEXT NOT NULL,
  status TEXT NOT NULL,
  request TEXT NOT NULL,
  audio TEXT NOT NULL,
  options TEXT NOT NULL,
  webhook TEXT,
  idempotency_key TEXT,
  created_s REAL NOT NULL,
  started_s REAL,
  ended_s REAL,
  duration_s REAL,
  error TEXT,
  attempts INTEGER NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX jobs_once ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE INDEX jobs_by_owner ON jobs (owner, number);
CREATE INDEX jobs_by_end ON jobs (ended_s) WHERE ended_s IS NOT NULL;
CREATE TABLE transcripts (
  job TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
  body TEXT NOT NULL
);
CREATE TABLE chunks (
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  start INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  events TEXT NOT NULL,
  PRIMARY KEY (job, start, "end")
) WITHOUT ROWID;
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY,
  job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  webhook TEXT NOT NULL,
  body TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_s REAL,
  delivered_s REAL,
  log TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX deliveries_due ON deliveries (next_s) WHERE next_s IS NOT NULL;
CREATE INDEX deliveries_by_job ON deliveries (job);
"""
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # what was answered is still there after the power failed
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",  # erased text is overwritten
)
COLUMNS = (
    "id, owner, status, request, audio, options, webhook, idempotency_key, "
    "created_s, started_s, ended_s, duration_s, error, attempts"
)


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
        None,
        job.attempts,
    )


def job_of(row: aiosqlite.Row) -> Job:
    """Return the job of a row."""
    audio = json.loads(row["audio"])
    return Job(
        id=row["id"],
        owner=row["owner"],
        status=JobStatus(row["status"]),
        request=load_request(row["request"]),
        audio=JobAudio(
            path=None if audio["path"] is None else Path(audio["path"]),
            url=audio["url"],
            name=audio["name"],
            pcm=load_pcm(audio["pcm"]),
        ),
        options=json.loads(row["options"]),
        webhook=_load_webhook(row["webhook"]),
        idempotency_key=row["idempotency_key"],
        created_s=row["created_s"],
        started_s=row["started_s"],
        ended_s=row["ended_s"],
        duration_s=row["duration_s"],
        error=None if row["error"] is None else json.loads(row["error"]),
        attempts=row["attempts"],
    )


def delivery_of(row: aiosqlite.Row) -> Delivery:
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


def _load_webhook(text: str | None) -> Webhook | None:
    return None if text is None else Webhook(**json.loads(text))
