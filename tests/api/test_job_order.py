"""What makes a job besides the transcription."""

import base64
import json

import pytest

from whisper_router.api.job_order import fields_of, response_fields, webhook_of
from whisper_router.errors import InvalidParameter, InvalidRequest

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


def test_json_is_read_as_a_form():
    """Numbers, switches, lists and objects; null is as if it were not there."""
    body = {
        "url": "https://example.org/a.mp3",
        "temperature": 0.2,
        "word": True,
        "language": None,
        "timestamp_granularities": ["word", "segment"],
        "webhook": {"url": "https://example.org/"},
    }
    assert fields_of(json.dumps(body).encode()) == [
        ("url", "https://example.org/a.mp3"),
        ("temperature", "0.2"),
        ("word", "true"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("webhook", '{"url": "https://example.org/"}'),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_refused(body):
    """It says so."""
    with pytest.raises(InvalidRequest):
        fields_of(body)


def test_fields_of_the_answer_are_kept_for_later():
    """In every spelling."""
    fields = [("model", "x"), ("response_format", "srt"), ("timestamp_granularities[]", "word")]
    assert response_fields(fields) == fields[1:]


@pytest.mark.parametrize("name", ["webhook", "webhook_url"])
def test_a_webhook_may_be_an_address(name):
    """And nothing else."""
    webhook = webhook_of([(name, " https://example.org/hook?x=1 ")])
    assert (webhook.url, webhook.headers, webhook.secret) == (
        "https://example.org/hook?x=1",
        {},
        None,
    )
    assert webhook_of([("model", "x")]) is None


def test_a_webhook_may_have_headers_and_a_secret():
    """The secret with or without its prefix."""
    for secret in (SECRET, SECRET.removeprefix("whsec_")):
        body = {"url": "http://example.org/", "headers": {"X-A": "b"}, "secret": secret}
        webhook = webhook_of([("webhook", json.dumps(body))])
        assert (webhook.headers, webhook.secret) == ({"X-A": "b"}, SECRET)


@pytest.mark.parametrize(
    "body",
    [
        "ftp://example.org/",
        "example.org",
        "{",
        {"url": 7},
        {"headers": {}},
        {"url": "http://example.org/", "headers": {"a": 1}},
        {"url": "http://example.org/", "headers": {"a": "b\r\nc: d"}},
        {"url": "http://example.org/", "headers": {str(n): "x" for n in range(40)}},
        {"url": "http://example.org/", "secret": "short"},
        {"url": "http://example.org/", "secret": 7},
        {"url": "http://example.org/", "method": "GET"},
    ],
)
def test_a_webhook_that_cannot_be_is_refused(body):
    """Before the job is made."""
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(InvalidParameter) as caught:
        webhook_of([("webhook", text)])
    assert caught.value.param == "webhook"
