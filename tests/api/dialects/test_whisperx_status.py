"""States as whisperX API server tells them."""

import pytest

from support.job_samples import make_job
from whisper_router.api.dialects.whisperx_status import ENDED, of_job, of_running
from whisper_router.jobs.model import JobAudio, JobStatus
from whisper_router.pipeline.progress import Stage, Tracker


def test_stages_have_begun_and_ended():
    tracker = Tracker("")
    for stage in (Stage.DECODING, Stage.WAITING, Stage.TRANSCRIBING):
        tracker.update(stage=stage)
    state = of_running("mine", tracker)
    assert [stage["name"] for stage in state["stages"]] == [
        "upload_save",
        "audio_load",
        "awaiting_concurrency",
        "transcribe",
    ]
    assert [stage["in_progress"] for stage in state["stages"]] == [False, False, False, True]
    assert (state["status"], state["stage"]) == ("in_progress", "transcribe")
    tracker.update(stage=Stage.FAILED)
    state = of_running("mine", tracker)
    assert (state["status"], state["completed_at"] is None) == ("failed", False)
    assert not any(stage["in_progress"] for stage in state["stages"])


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (JobStatus.QUEUED, "queued"),
        (JobStatus.RUNNING, "in_progress"),
        (JobStatus.COMPLETED, "completed"),
        (JobStatus.FAILED, "failed"),
        (JobStatus.CANCELLED, "failed"),
    ],
)
def test_a_job_has_a_state_too(status, told):
    error = {"message": "no", "type": "server_error", "code": None}
    job = make_job(
        "job_1",
        status=status,
        audio=JobAudio(name="a.wav"),
        options={"align": True},
        error=error if status is JobStatus.FAILED else None,
    )
    state = of_job("mine", job, None)
    assert (state["status"], state["filename"]) == (told, "a.wav")
    assert state["params"]["align"] is True
    assert (state["error"] is not None) == (told == "failed")
    assert (state["status"] in ENDED) == job.has_ended
