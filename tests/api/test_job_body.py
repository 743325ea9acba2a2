"""Jobs as clients see them."""

import json
from dataclasses import replace

import pytest

from support.job_samples import TRANSCRIPT, WEBHOOK, make_job
from whisper_router.api.job_body import deliveries_body, job_body, notice
from whisper_router.jobs.model import Delivery, JobStatus
from whisper_router.pipeline.progress import Report, Stage


def test_a_queued_job_has_a_place():
    """Nothing of it is known yet."""
    body = job_body(make_job("job_1"), position=3)
    assert (body["status"], body["percent"], body["queue_position"]) == ("queued", 0.0, 3)
    assert body["started_at"] is body["duration"] is body["error"] is None
    assert body["filename"] == "a.wav"


def test_a_running_job_says_how_far_it_is():
    """Its stage, its share, and how long it may take."""
    job = make_job("job_1", status=JobStatus.RUNNING, started_s=1001.5)
    report = Report(owner="", stage=Stage.TRANSCRIBING, speech_s=10.0, left_s=0.0, done_s=5.0)
    body = job_body(job, report=report, eta_s=2.5)
    assert (body["stage"], body["percent"], body["estimate_seconds"]) == ("transcribing", 50.0, 2.5)
    assert body["started_at"] == 1001


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (JobStatus.COMPLETED, "job.completed"),
        (JobStatus.FAILED, "job.failed"),
        (JobStatus.CANCELLED, "job.cancelled"),
    ],
)
def test_a_notice_has_type_timestamp_and_data(status, kind):
    """As Standard Webhooks recommends; the text of a job that is complete."""
    job = make_job("job_1", status=status, ended_s=1795000000.25)
    body = notice(job, TRANSCRIPT if status is JobStatus.COMPLETED else None)
    assert body["type"] == kind
    assert body["timestamp"] == "2026-11-18T11:06:40.250+00:00"
    assert body["data"]["id"] == "job_1"
    assert body["data"].get("text") == ("één" if status is JobStatus.COMPLETED else None)
    json.dumps(body)


def test_secrets_of_a_webhook_are_not_shown():
    """Neither its headers."""
    delivery = Delivery(id="msg_1", job_id="job_1", webhook=WEBHOOK, body="{}", next_s=5.5)
    [body] = deliveries_body([replace(delivery, attempts=1, log=[{"status": 500}])])
    assert body == {
        "id": "msg_1",
        "url": WEBHOOK.url,
        "attempts": 1,
        "delivered_at": None,
        "next_attempt_at": 5,
        "log": [{"status": 500}],
    }
