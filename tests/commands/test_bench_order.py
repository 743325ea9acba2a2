"""The command line of `whisper-router bench`."""

import argparse

import pytest

from whisper_router.commands.bench_order import BenchOrder, add_arguments, order
from whisper_router.errors import ConfigurationError


def parsed(*arguments: str) -> BenchOrder:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    found = parser.parse_args(arguments)
    return order(found, url=found.url or "http://127.0.0.1:8123/v1")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Whatever this user has in the environment."""
    for name in ("WHISPER_ROUTER_KEY", "OPENAI_API_KEY", "API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v1/audio/transcriptions"])
def test_a_url_may_end_with_v1_or_not(path):
    """Or be the whole address."""
    url = f"http://box:1{path}"
    assert parsed("--url", url).address == "http://box:1/v1/audio/transcriptions"


def test_the_key_is_an_option_or_a_variable(monkeypatch):
    """The option first."""
    assert parsed().api_key is None
    monkeypatch.setenv("OPENAI_API_KEY", "second")
    assert parsed().api_key == "second"
    monkeypatch.setenv("WHISPER_ROUTER_KEY", "first")
    assert parsed().api_key == "first"
    assert parsed("--key", "named").api_key == "named"


def test_rows_are_numbers_of_requests_at_a_time():
    """And each request has the fields that were asked for."""
    asked = parsed("--concurrency", "1,2,8", "--stream", "--language", "de", "--model", "small")
    assert asked.concurrency == (1, 2, 8)
    assert asked.fields == {
        "model": "small", "response_format": "json", "language": "de", "stream": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        ["--concurrency", "0"],
        ["--concurrency", "1,x"],
        ["--url", "box:8000"],
        ["--url", "ftp://box"],
        ["--seconds", "1e9"],
        ["--duration", "-1"],
        ["--duration", "inf"],
        ["--requests", "5", "--duration", "5"],
        ["--format", "mp3"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused(wrong, capsys):
    """With the usage."""
    with pytest.raises(SystemExit):
        parsed(*wrong)
    told = capsys.readouterr().err
    assert "usage:" in told
    assert "invalid _" not in told


def test_what_does_not_go_together_is_refused():
    """Only text can be streamed, and files are as long as they are."""
    with pytest.raises(ConfigurationError, match="--stream"):
        parsed("--stream", "--format", "srt")
    with pytest.raises(ConfigurationError, match="--seconds"):
        parsed("--seconds", "5", "a.wav")
