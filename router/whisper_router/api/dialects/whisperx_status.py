"""How a request fares, as whisperX API server tells it. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from whisper_router.api.context import SAFE_ID
from whisper_router.api.dialects.kept import Kept
from whisper_router.domain import TranscriptionRequest
from whisper_router.jobs.model import Job, JobStatus
from whisper_router.pipeline.progress import Stage, Tracker

__all__ = ["ENDED", "SAFE_ID", "STATUS", "of_job", "of_running"]

STATUS: Mapping[JobStatus, str] = MappingProxyType(
    {
        JobStatus.QUEUED: "queued",
        JobStatus.RUNNING: "in_progress",
        JobStatus.COMPLETED: "completed",
        JobStatus.FAILED: "failed",
        JobStatus.CANCELLED: "failed",
    }
)
ENDED = frozenset({"completed", "failed"})
STAGES: Mapping[Stage, str] = MappingProxyType(
    {
        Stage.RECEIVING: "upload_save",
        Stage.DECODING: "audio_load",
        Stage.WAITING: "awaiting_concurrency",
        Stage.TRANSCRIBING: "transcribe",
    }
)
Json = dict[str, Any]


def of_running(own_id: str, tracker: Tracker, kept: Kept | None = None) -> Json:
    """Return the state of a request that is answered at once; `kept` once it is understood."""
    stage = tracker.report.stage
    status = {Stage.DONE: "completed", Stage.FAILED: "failed"}.get(stage, "in_progress")
    stages = _stages(tracker, is_over=status != "in_progress")
    began = list(tracker.began_s.values())
    return {
        "request_id": own_id,
        "status": status,
        "mode": "direct",
        "stage": STAGES.get(stage),
        "submitted_at": began[0],
        "updated_at": began[-1],
        "completed_at": None if status == "in_progress" else began[-1],
        "percent": tracker.report.percent,
        "filename": None if kept is None else kept.filename,
        "params": {} if kept is None else dict(kept.options),
        "stages": stages,
        "error": None,
        "error_type": None,
    }


def of_job(own_id: str, job: Job, tracker: Tracker | None) -> Json:
    """Return the state of a job; `tracker` is there while it runs."""
    error: Mapping[str, Any] = job.error or {}
    cancelled = "The request was cancelled." if job.status is JobStatus.CANCELLED else None
    return {
        "request_id": own_id,
        "status": STATUS[job.status],
        "mode": "direct",
        "stage": None if tracker is None else STAGES.get(tracker.report.stage),
        "submitted_at": job.created_s,
        "updated_at": job.ended_s or max(_times(job, tracker)),
        "completed_at": job.ended_s,
        "percent": _percent(job, tracker),
        "filename": job.audio.name or None,
        "params": _params(job.request, job.options),
        "stages": _job_stages(job) if tracker is None else _stages(tracker, is_over=False),
        "error": error.get("message", cancelled),
        "error_type": error.get("code") or error.get("type"),
    }


def _times(job: Job, tracker: Tracker | None) -> list[float]:
    reached = [] if tracker is None else list(tracker.began_s.values())
    return [job.created_s, job.started_s or job.created_s, *reached]


def _percent(job: Job, tracker: Tracker | None) -> float:
    if job.status is JobStatus.COMPLETED:
        return 100.0
    return 0.0 if tracker is None else tracker.report.percent


def _params(request: TranscriptionRequest, options: Mapping[str, Any]) -> Json:
    return {
        "endpoint": "translations" if request.task == "translate" else "transcriptions",
        "model": request.model,
        "language": request.language,
        "align": bool(options.get("align")),
        "diarize": bool(options.get("diarize")),
    }


def _stages(tracker: Tracker, *, is_over: bool) -> list[Json]:
    began = [(STAGES[stage], at_s) for stage, at_s in tracker.began_s.items() if stage in STAGES]
    ends: list[float | None] = [at_s for _, at_s in began[1:]]
    ends.append(list(tracker.began_s.values())[-1] if is_over else None)
    return [_stage(name, at_s, end_s) for (name, at_s), end_s in zip(began, ends, strict=True)]


def _job_stages(job: Job) -> list[Json]:
    if job.started_s is None:
        return []
    return [_stage("transcribe", job.started_s, job.ended_s)]


def _stage(name: str, began_s: float, ended_s: float | None) -> Json:
    return {
        "name": name,
        "started_at": began_s,
        "completed_at": ended_s,
        "duration_seconds": None if ended_s is None else round(ended_s - began_s, 3),
        "in_progress": ended_s is None,
    }
