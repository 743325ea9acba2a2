"""Error answers by status."""

import pytest

from whisper_router.api import body, jobs, problems  # noqa: F401 (their errors count too)
from whisper_router.api.deps import DialectOptions
from whisper_router.api.openapi.document import document
from whisper_router.api.openapi.refusals import WORDS, codes, responses
from whisper_router.api.services import ServiceInfo
from whisper_router.errors import RouterError

SERVICE = ServiceInfo(name="whisper-router", version="1.2.3", docs="https://example.org/docs")


def statuses(base: type[RouterError] = RouterError) -> set[int]:
    found = {base.status}
    for error in base.__subclasses__():
        if error.__module__.startswith("whisper_router."):
            found |= statuses(error)
    return found


def test_every_status_of_an_error_has_an_answer():
    """An operation can only refer to those that are there."""
    assert statuses() <= set(WORDS)


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "model_not_found"), (409, "job_not_completed"), (503, "model_unavailable")],
)
def test_codes_are_those_of_the_errors(status: int, code: str):
    """They stand in the answer's description."""
    assert code in codes(status)
    assert f"`{code}`" in responses()[f"Error{status}"]["description"]


def test_a_time_to_come_back_is_told_where_it_is_sent():
    """429 and 503."""
    told = {name for name, answer in responses().items() if "Retry-After" in answer["headers"]}
    assert told == {"Error429", "Error503"}


def test_who_names_an_address_may_be_refused():
    """As a page of another site, besides keys that lack a scope; to look needs neither."""
    paths = document(SERVICE, DialectOptions())["paths"]
    for path in ("/v1/audio/transcriptions", "/v1/jobs", "/", "/inference"):
        assert "403" in paths[path]["post"]["responses"]
    assert "403" not in paths["/v1/progress/{id}"]["get"]["responses"]
