"""Where commands find the server of the configuration."""

from pathlib import Path

import pytest

from whisper_router.commands.own_server import own_certificate, own_url, trust_in
from whisper_router.errors import ConfigurationError
from whisper_router.settings import Settings

PAIR = {"tls_cert": "cert.pem", "tls_key": "key.pem"}


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8123/v1"),
        ({"host": "::"}, "http://127.0.0.1:8123/v1"),
        ({"host": "::1"}, "http://[::1]:8123/v1"),
        ({"host": "10.0.0.5"}, "http://10.0.0.5:8123/v1"),
        ({"host": "0.0.0.0", **PAIR}, "https://127.0.0.1:8123/v1"),
        ({"host": "stt.lan", **PAIR}, "https://stt.lan:8123/v1"),
    ],
)
def test_it_is_where_it_listens(server, url):
    """On this machine, where it listens everywhere."""
    assert own_url(Settings(server={"port": 8123, **server})) == url


def test_its_certificate_is_the_one_that_is_configured():
    """And must be one."""
    assert own_certificate(Settings()) is None
    certificate = own_certificate(Settings(server={"tls_cert": "~/c.pem", "tls_key": "k"}))
    assert certificate == Path.home() / "c.pem"
    assert trust_in(None) is True
    with pytest.raises(ConfigurationError, match="holds no certificate in PEM"):
        trust_in(Path(__file__))
