"""Webhooks speak the dialect of their job."""

import pytest

from support.job_samples import TRANSCRIPT, make_job
from whisper_router.api.notices import notice
from whisper_router.jobs.model import JobStatus


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ({}, "type", "job.completed"),
        ({"dialect": "insanely_fast_whisper", "task_id": "t"}, "task_id", "t"),
        ({"dialect": "whisperx", "request_id": "r"}, "job_id", "r"),
        ({"dialect": "of a later version"}, "type", "job.completed"),
    ],
)
def test_each_has_its_words(options, key, value):
    job = make_job("job_1", status=JobStatus.COMPLETED, options=options)
    assert notice(job, TRANSCRIPT)[key] == value


def test_a_failed_request_of_whisperx_says_why():
    error = {"message": "no", "type": "server_error", "code": "engine_crashed"}
    options = {"dialect": "whisperx", "request_id": "r"}
    job = make_job("job_1", status=JobStatus.FAILED, options=options, error=error)
    assert notice(job, None) == {
        "job_id": "r",
        "status": "error",
        "error": "no",
        "error_type": "engine_crashed",
    }
