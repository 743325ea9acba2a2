"""The parts in front of the router. A whole server: tests/whole."""

import pytest

from whisper_router.errors import ConfigurationError, UrlRefused
from whisper_router.front import audit_log, fetch_limits, key_source, outbound_of, usage_keeper
from whisper_router.sections import AuditSettings, AuthSettings, OutboundSettings, ServerSettings
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


async def test_a_place_that_was_named_must_be_usable(tmp_path):
    """Where none was, a server counts in memory, and a self-test always does."""
    taken = tmp_path / "file"
    taken.write_text("")
    auth = AuthSettings(usage_file=taken / "usage.sqlite")
    with pytest.raises(ConfigurationError, match="usage file"):
        async with usage_keeper(Settings(auth=auth), is_kept=True):
            pass
    async with usage_keeper(Settings(auth=auth), is_kept=False) as usage:
        assert usage.account("a").total.requests == 0
    with pytest.raises(ConfigurationError, match=r"audit\.file"):
        async with audit_log(Settings(audit=AuditSettings(file=taken / "audit.jsonl"))):
            pass
    async with audit_log(Settings()) as none:
        assert none is None
