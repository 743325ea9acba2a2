"""The lines between the store and its download program."""

from pathlib import Path

import pytest

from whisper_router.errors import ModelUnavailable, ShuttingDown, StorageFull
from whisper_router.models.fetch_job import (
    Done,
    Failed,
    FetchEvent,
    FetchJob,
    FetchLimits,
    Progress,
    decode_event,
    decode_job,
    encode_event,
    encode_job,
)
from whisper_router.models.source import HubFile, RemoteFile, UrlFile


@pytest.mark.parametrize(
    "source",
    [
        HubFile(repo="a/b", file="ü.bin", revision="r", size_bytes=1, sha256="2", sha1="3"),
        UrlFile(url="https://example.org/x", size_bytes=1, sha256="2"),
    ],
)
def test_a_job_survives_the_way(source: RemoteFile) -> None:
    """Every field, on one line."""
    job = FetchJob(
        source=source,
        target=Path("/models/a b"),
        lock=Path("/models/.locks/a"),
        endpoint="http://hub",
        token="hf_secret",
        limits=FetchLimits(stall_s=1.5, attempts=2, backoff_s=0.5, min_free_bytes=7),
    )
    line = encode_job(job)
    assert line.count(b"\n") == 1
    assert decode_job(line) == job
    assert "hf_secret" not in repr(job)


@pytest.mark.parametrize(
    "event",
    [
        Progress(done_bytes=1, total_bytes=None, waiting=True),
        Done(fetched_bytes=3, verified=True),
        Failed(code="storage_full", message="two\nlines", retry_after_s=4),
    ],
)
def test_an_event_survives_the_way(event: FetchEvent) -> None:
    """On one line, whatever the message holds."""
    assert "\n" not in encode_event(event)
    assert decode_event(encode_event(event).encode()) == event


@pytest.mark.parametrize(
    "line",
    [b"", b"Traceback", b"[1]", b"3", b"{}", b'{"event": "?"}', b'{"event": "done"}', b"\xff"],
)
def test_what_is_no_event_is_none(line: bytes) -> None:
    """A library's warning, say."""
    assert decode_event(line) is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("storage_full", StorageFull),
        ("shutting_down", ShuttingDown),
        ("model_unavailable", ModelUnavailable),
        ("", ModelUnavailable),
    ],
)
def test_a_failure_becomes_the_error_of_its_code(code: str, kind: type[Exception]) -> None:
    """With message and time to wait."""
    error = Failed(code=code, message="no", retry_after_s=9).error()
    assert type(error) is kind
    assert (str(error), error.retry_after_s) == ("no", 9)
