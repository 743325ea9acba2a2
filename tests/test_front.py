"""The parts in front of the router. A whole server: tests/whole."""

import pytest

from support.certificates import make_certificate
from whisper_router.descriptors import file_limits
from whisper_router.errors import ConfigurationError, UrlRefused
from whisper_router.front import (
    certificates_of,
    crowd_limits,
    fetch_limits,
    key_source,
    outbound_of,
)
from whisper_router.sections import AuthSettings, OutboundSettings, ServerSettings
from whisper_router.settings import Settings


async def test_a_plain_key_makes_keys_required():
    with_key = key_source(Settings(auth=AuthSettings(api_key="the-only-key")))
    ring = await with_key.ring()
    assert ring.required
    assert ring.identify("the-only-key") is not None
    assert ring.identify("another-key") is None


@pytest.mark.parametrize("auth", [AuthSettings(), AuthSettings(api_key="")])
async def test_without_a_key_everybody_may_call(auth: AuthSettings):
    assert not (await key_source(Settings(auth=auth)).ring()).required


def test_what_is_fetched_is_no_larger_than_an_upload():
    limits = fetch_limits(Settings(server=ServerSettings(max_upload_bytes="3MiB")))
    assert limits.max_bytes == 3 << 20


def test_private_addresses_are_for_those_who_allow_them():
    address = "http://127.0.0.1/a.wav"
    with pytest.raises(UrlRefused):
        outbound_of(Settings()).check(address)
    outbound_of(Settings(outbound=OutboundSettings(allow_private=True))).check(address)


def test_no_more_connections_are_taken_than_there_may_be_files_for():
    most = file_limits().connections
    for wanted, got in (("auto", most), (7, 7), (10_000_000, most)):
        settings = Settings(server=ServerSettings(max_connections=wanted))
        assert crowd_limits(settings).most == got


def test_proxies_that_are_trusted_have_no_limit_of_their_own():
    limits = crowd_limits(Settings(server=ServerSettings(trusted_proxies=["10.0.0.0/8"])))
    assert limits.is_exempt("10.2.3.4")
    assert not limits.is_exempt("192.0.2.7")


def test_a_certificate_is_read_at_the_start(tmp_path):
    assert certificates_of(Settings()) is None
    made = make_certificate(tmp_path)
    server = ServerSettings(tls_cert=made.certificate, tls_key=made.key)
    assert certificates_of(Settings(server=server)) is not None
    made.key.unlink()
    with pytest.raises(ConfigurationError, match=r"server\.tls_key"):
        certificates_of(Settings(server=server))
