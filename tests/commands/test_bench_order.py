"""The command line of `whisper-router bench`."""

import argparse
from pathlib import Path

import pytest

from whisper_router.commands.bench_order import BenchOrder, add_arguments, order
from whisper_router.errors import ConfigurationError


def parsed(*arguments: str, host: str = "127.0.0.1") -> BenchOrder:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return order(parser.parse_args(arguments), host=host, port=8123)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """Whatever this user has in the environment."""
    for name in ("WHISPER_ROUTER_KEY", "OPENAI_API_KEY", "API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("host", "base"),
    [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("10.0.0.5", "10.0.0.5")],
)
def test_the_configured_server_is_the_default(host, base):
    """On this machine, where it listens everywhere."""
    assert parsed(host=host).address == f"http://{base}:8123/v1/audio/transcriptions"


@pytest.mark.parametrize("url", ["http://box:1", "http://box:1/", "http://box:1/v1"])
def test_a_url_may_end_with_v1_or_not(url):
    assert parsed("--url", url).address == "http://box:1/v1/audio/transcriptions"


def test_the_configured_server_may_speak_tls():
    """Its own certificate is believed; another server's is checked as usual."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    certificate = Path("fullchain.pem")
    ours = order(parser.parse_args([]), host="::", port=8123, certificate=certificate)
    assert ours.address == "https://127.0.0.1:8123/v1/audio/transcriptions"
    assert ours.certificate == certificate
    there = parser.parse_args(["--url", "https://box:1"])
    assert order(there, host="::", port=8123, certificate=certificate).certificate is None


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
    assert "usage:" in capsys.readouterr().err


def test_what_does_not_go_together_is_refused():
    """Only text can be streamed, and files are as long as they are."""
    with pytest.raises(ConfigurationError, match="--stream"):
        parsed("--stream", "--format", "srt")
    with pytest.raises(ConfigurationError, match="--seconds"):
        parsed("--seconds", "5", "a.wav")
