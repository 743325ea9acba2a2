"""A job as the native API shows it. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from whisper_router.domain import Transcript
from whisper_router.jobs.model import Delivery, Job, JobStatus
from whisper_router.pipeline.progress import Report

Json = dict[str, Any]
EVENTS = {
    JobStatus.COMPLETED: "job.completed",
    JobStatus.FAILED: "job.failed",
    JobStatus.CANCELLED: "job.cancelled",
}


def job_body(
    job: Job,
    *,
    report: Report | None = None,
    position: int | None = None,
    eta_s: float | None = None,
) -> Json:
    """Return the job object; what is not known yet is null, but for what has no meaning yet."""
    is_done = job.status is JobStatus.COMPLETED
    body: Json = {
        "id": job.id,
        "object": "job",
        "status": job.status.value,
        "task": job.request.task.value,
        "model": job.request.model,
        "filename": job.audio.name or None,
        "url": job.audio.url,
        "created_at": int(job.created_s),
        "started_at": _whole(job.started_s),
        "ended_at": _whole(job.ended_s),
        "percent": 100.0 if is_done else (report.percent if report else job.percent),
        "stage": report.stage.value if report and not job.has_ended else None,
        "duration": job.duration_s,
        "attempts": job.attempts,
        "error": job.error,
    }
    if position is not None:
        body["queue_position"] = position
    if eta_s is not None:
        body["estimate_seconds"] = eta_s
    return body


def deliveries_body(deliveries: Sequence[Delivery]) -> list[Json]:
    """Return how the job's webhook fares. Its headers and its secret are not shown."""
    return [
        {
            "id": delivery.id,
            "url": delivery.webhook.url,
            "attempts": delivery.attempts,
            "delivered_at": _whole(delivery.delivered_s),
            "next_attempt_at": _whole(delivery.next_s),
            "log": list(delivery.log),
        }
        for delivery in deliveries
    ]


def notice(job: Job, transcript: Transcript | None) -> Json:
    """Return the body of a webhook: type, timestamp and data, as Standard Webhooks has it."""
    data = job_body(job)
    if transcript is not None:
        data["text"] = transcript.text
        data["language"] = transcript.language
    ended_s = job.ended_s or job.created_s
    return {
        "type": EVENTS[job.status],
        "timestamp": datetime.fromtimestamp(ended_s, UTC).isoformat(timespec="milliseconds"),
        "data": data,
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
