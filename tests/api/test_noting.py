"""What is kept of jobs that ended; requests are in test_activity.py."""

from dataclasses import replace

import pytest

from whisper_router.api.noting import ended_job
from whisper_router.domain import TranscriptionRequest
from whisper_router.jobs.model import Job, JobAudio, JobStatus

DONE = Job(
    id="job_1",
    owner="ann",
    status=JobStatus.COMPLETED,
    request=TranscriptionRequest(model="small"),
    audio=JobAudio(name="secret.wav"),
    created_s=100.0,
    started_s=104.0,
    ended_s=110.0,
    duration_s=12.0,
)


def test_a_job_has_its_wait_and_its_speed():
    """Its work is what came after the wait."""
    ended = ended_job(DONE)
    assert (ended.wait_s, ended.work_s, ended.rtf) == (4.0, 6.0, 0.5)
    assert (ended.started_s, ended.ended_s) == (100.0, 110.0)
    assert (ended.status, ended.code, ended.model, ended.origin.owner) == (
        200,
        None,
        "small",
        "ann",
    )


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"status": JobStatus.CANCELLED}, 410, "request_cancelled"),
        (
            {"status": JobStatus.FAILED, "error": {"status": 422, "code": "audio_rejected"}},
            422,
            "audio_rejected",
        ),
        ({"status": JobStatus.FAILED, "error": {"code": None}}, 500, None),
    ],
)
def test_a_job_that_did_not_complete_has_its_error(changes, status, code):
    """Its audio may not be known."""
    ended = ended_job(replace(DONE, duration_s=None, **changes))
    assert (ended.status, ended.code, ended.rtf) == (status, code, None)


def test_a_job_that_was_never_begun_has_waited_for_nothing():
    """And a clock that was set back makes no negative times."""
    ended = ended_job(replace(DONE, started_s=None, ended_s=50.0))
    assert (ended.wait_s, ended.work_s, ended.ended_s) == (None, None, 100.0)
