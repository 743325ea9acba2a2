"""What asking for a job may meet."""

from whisper_router.api.job_errors import JobFailed
from whisper_router.errors import AudioRejected


def test_a_jobs_own_error_is_answered_as_it_was():
    """With what is known of it."""
    error = AudioRejected("It crashed twice.")
    body = {**error.envelope()["error"], "status": error.status}
    again = JobFailed(body)
    assert (again.status, again.envelope()) == (422, error.envelope())
    assert JobFailed({"message": "?"}).status == 500
