"""What may be wrong with a job that is to be kept, beside what other requests may meet."""

from whisper_router.errors import INVALID_REQUEST, RouterError, Unavailable


class JobExists(RouterError):
    """There is a job of this id already."""

    status, kind, code = 409, INVALID_REQUEST, "job_exists"


class IdempotencyKeyReused(RouterError):
    """The idempotency key was sent before, with another request."""

    status, kind, code = 422, INVALID_REQUEST, "idempotency_key_reused"


class StoreUnavailable(Unavailable):
    """The jobs cannot be read or written now: the disk fails, or the file is damaged."""

    code = "jobs_unavailable"
    retry_after_s = 60


def exists(job_id: str) -> JobExists:
    """Return the error for an id that is taken."""
    return JobExists(f"There is a job '{job_id}' already.")
