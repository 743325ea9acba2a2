"""What asking for a job may meet."""

from collections.abc import Mapping
from typing import Any

from whisper_router.errors import INVALID_REQUEST, SERVER_ERROR, RouterError, Unavailable
from whisper_router.jobs.errors import IdempotencyKeyReused, JobExists

__all__ = [
    "IdempotencyKeyReused",
    "JobExists",
    "JobFailed",
    "JobNotCompleted",
    "JobNotFound",
    "JobsUnavailable",
]


class JobNotFound(RouterError):
    """No job of this key has this id."""

    status, kind, code = 404, INVALID_REQUEST, "job_not_found"


class JobNotCompleted(RouterError):
    """There is no result: the job has not ended yet, was cancelled, or its result is erased."""

    status, kind, code = 409, INVALID_REQUEST, "job_not_completed"


class JobsUnavailable(Unavailable):
    """This server keeps no jobs."""

    code = "jobs_unavailable"
    retry_after_s = 60


class JobFailed(RouterError):
    """The error that the job ended with."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message") or "The job has failed.")
        self.status, self.kind = error.get("status") or 500, error.get("type") or SERVER_ERROR
        self.code, self.param = error.get("code"), error.get("param")
