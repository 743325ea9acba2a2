"""What a status means, where the hub tests do not tell."""

import pytest

from whisper_router.errors import ModelUnavailable
from whisper_router.models.refusals import TryAgainError, refusal
from whisper_router.models.source import HubFile

SOURCE = HubFile(repo="a/b", file="m.bin")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_faults_of_the_server_are_worth_another_try(status: int) -> None:
    """They pass."""
    assert isinstance(refusal(SOURCE, status, {}, endpoint=None), TryAgainError)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("5", 5), ("0", 1), ("999999", 3600), ("Wed, 21 Oct 2026 07:28:00 GMT", 60), ("-3", 60)],
)
def test_retry_after_is_taken_within_reason(value: str, seconds: int) -> None:
    """Dates and nonsense mean a minute."""
    error = refusal(SOURCE, 429, {"Retry-After": value}, endpoint=None)
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after_s == seconds


def test_other_answers_are_reported_as_they_are() -> None:
    """With the address."""
    message = str(refusal(SOURCE, 418, {}, endpoint=None))
    assert message == "https://huggingface.co/a/b/resolve/main/m.bin answered 418"
