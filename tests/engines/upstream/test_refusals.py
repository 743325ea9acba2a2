"""Error answers of other servers."""

import json

import pytest

from whisper_router_engines.upstream.refusals import refusal

URL = "http://10.0.0.5:8000/v1"


def of(status: int, body: object, **headers: str):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return refusal(URL, status, headers, data, model="big")


def test_what_the_client_did_wrong_is_passed_on_as_it_is():
    """Status, words, parameter and code are those that the client would have got there."""
    error = {"message": "Invalid language.", "type": "t", "param": "language", "code": "c"}
    found = of(400, {"error": error})
    assert (found.status, found.envelope()) == (400, {"error": error})
    assert not found.is_elsewhere_better


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_ours_and_not_the_client_s(status):
    """The client's own key was right: a 401 would send its user looking for the wrong fault."""
    found = of(status, {"error": {"message": "Incorrect API key provided: sk-123"}})
    assert "sk-123" not in str(found)
    assert (found.status, found.code) == (502, "upstream_refused")
    assert "api_key" in str(found)
    assert URL in str(found)
    assert found.is_elsewhere_better


def test_a_model_that_is_unknown_there_is_a_mistake_of_the_configuration():
    """The client named an alias that exists."""
    found = of(404, {"error": {"message": "no such model"}})
    assert (found.status, found.code) == (502, "upstream_refused")
    assert "'big'" in str(found)
    assert "remote_model" in str(found)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_who_sends_elsewhere_is_not_followed(status):
    """An upload would arrive there as a GET, or at an address that nobody has chosen."""
    found = of(status, b"", Location="http://elsewhere/")
    assert (found.status, found.code) == (502, "upstream_refused")
    assert "base_urls" in str(found)


@pytest.mark.parametrize("status", [429, 503])
def test_who_has_too_much_to_do_says_when_to_come_back(status):
    """And another server may have the time."""
    found = of(status, {"error": {"message": "busy", "code": "x"}}, **{"Retry-After": "6.2"})
    assert (found.status, found.retry_after_s, found.code) == (status, 7, "x")
    assert found.is_elsewhere_better
    assert found.hold_off_s == 7.0


@pytest.mark.parametrize("status", [500, 502, 599, 304, 204])
def test_a_broken_server_is_a_bad_gateway(status):
    """A 500 would say that it is us who have a bug."""
    found = of(status, b"<html>oops</html>")
    assert found.status == 502
    assert "oops" in str(found)
    assert URL in str(found)


def test_a_loop_and_a_time_out_stay_what_they_are():
    """They are the same here."""
    assert of(508, {"error": {"message": "loop", "code": "loop_detected"}}).code == "loop_detected"
    assert of(504, {"error": {"message": "late"}}).status == 504


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Unsupported audio"}, "Unsupported audio"),
        ({"detail": [{"loc": ["file"], "msg": "missing"}]}, "missing"),
        ({"error": "failed to read audio"}, "failed to read audio"),
        ({"message": "plain"}, "plain"),
        (["a", "list"], "list"),
        (b"", "HTTP status 400"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}"),
        ({"error": {"message": None, "code": 7}}, "HTTP status 400"),
        (b"[" * 100_000, "[["),
    ],
)
def test_every_way_to_say_it_is_understood(body, said):
    """FastAPI, whisper.cpp, proxies, nonsense."""
    found = of(400, body)
    assert said in str(found)
    assert found.code is None


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "-1"])
def test_a_strange_retry_after_is_left_out(value):
    """No number, no advice."""
    assert of(503, {}, **{"Retry-After": value}).retry_after_s is None


def test_a_long_text_is_cut():
    """Whole pages of HTML are no message."""
    assert len(str(of(500, b"x" * 100_000))) < 700
