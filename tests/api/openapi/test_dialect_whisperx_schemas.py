"""Schemas of states against what is told of jobs."""

import pytest

from support.openapi import check, described
from whisper_router.api.dialects.whisperx_status import of_job
from whisper_router.api.openapi.dialect_whisperx_schemas import schemas
from whisper_router.domain import TranscriptionRequest
from whisper_router.jobs.model import Job, JobAudio, JobStatus


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_in_every_status_is_as_described(status: JobStatus):
    """Also one that has failed."""
    job = Job(
        id="job_1",
        owner="",
        status=status,
        request=TranscriptionRequest(model="m"),
        audio=JobAudio(name="a.wav"),
        created_s=1.0,
        started_s=None if status is JobStatus.QUEUED else 2.0,
        error={"message": "No.", "type": "server_error"} if status is JobStatus.FAILED else None,
    )
    told = described()
    check(told, schemas()["WhisperxStatus"], of_job("x", job, None))
