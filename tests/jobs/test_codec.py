"""Requests and results as text, and back."""

import json
from dataclasses import replace

import pytest

from support.job_samples import EVENTS, REQUEST, TRANSCRIPT
from whisper_router.audio.media import Encoding, PcmFormat
from whisper_router.domain import Lane, TranscriptionRequest
from whisper_router.jobs.codec import (
    dump_events,
    dump_pcm,
    dump_request,
    dump_transcript,
    load_events,
    load_pcm,
    load_request,
    load_transcript,
)


@pytest.mark.parametrize(
    "request_", [REQUEST, TranscriptionRequest(model="x"), replace(REQUEST, lane=Lane.JOB)]
)
def test_a_request_comes_back_as_it_was(request_):
    """Every field, with its type."""
    assert load_request(dump_request(request_)) == request_


def test_a_field_of_a_newer_version_is_left_out():
    """And one that an older version did not write has its default."""
    body = json.loads(dump_request(REQUEST))
    body["mood"] = "good"
    del body["via"]
    assert load_request(json.dumps(body)) == REQUEST


def test_results_come_back_as_they_were():
    """Also bytes that are no text of their own."""
    assert tuple(load_events(dump_events(EVENTS))) == EVENTS
    assert load_transcript(dump_transcript(TRANSCRIPT)) == TRANSCRIPT


def test_a_result_of_the_first_version_can_be_read():
    """It was one text."""
    head, *lines = dump_transcript(TRANSCRIPT).split("\n")
    assert len(lines) == len(TRANSCRIPT.segments)
    old = json.loads(head) | {"segments": [json.loads(line) for line in lines]}
    assert load_transcript(json.dumps(old)) == TRANSCRIPT


def test_raw_samples_keep_their_format():
    """A container needs none."""
    pcm = PcmFormat(encoding=next(iter(Encoding)), rate_hz=8000, channels=2)
    assert load_pcm(json.loads(json.dumps(dump_pcm(pcm)))) == pcm
    assert load_pcm(dump_pcm(None)) is None
