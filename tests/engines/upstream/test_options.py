"""What the configuration may say of other servers."""

import pytest
from pydantic import ValidationError

from whisper_router_engines.upstream.options import UpstreamOptions

HERE, THERE = "http://10.0.0.5:8000/v1", "https://speech.example/v1"


def test_addresses_are_kept_without_a_slash_at_the_end():
    """Paths are appended to them."""
    options = UpstreamOptions(base_urls=(f" {HERE}/ ", THERE))
    assert options.base_urls == (HERE, THERE)


def test_a_server_has_its_own_key_or_the_common_one():
    """However its address is written."""
    options = UpstreamOptions(
        base_urls=(HERE, THERE), api_key="common", api_keys={f"{HERE}/": "own"}
    )
    own, common = options.key(HERE), options.key(THERE)
    assert own is not None
    assert own.get_secret_value() == "own"
    assert common is not None
    assert common.get_secret_value() == "common"
    assert "common" not in repr(options)
    assert "own'" not in repr(options)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "base_urls"),
        ({"base_urls": []}, "at least 1"),
        ({"base_urls": ["10.0.0.5:8000"]}, "not an address"),
        ({"base_urls": ["ftp://10.0.0.5/v1"]}, "not an address"),
        ({"base_urls": ["http://10.0.0.5:99999/v1"]}, "not an address"),
        ({"base_urls": ["http://[::1/v1"]}, "not an address"),
        ({"base_urls": ["http://host/v1?key=1"]}, "not an address"),
        ({"base_urls": ["http://user:pw@host/v1"]}, "holds no key"),
        ({"base_urls": [HERE, f"{HERE}/"]}, "named twice"),
        ({"base_urls": [HERE], "api_keys": {THERE: "key"}}, "not one of base_urls"),
        ({"base_urls": ["http://host /v1"]}, "not an address"),
        ({"base_urls": [HERE], "api_key": "from-a-file\n"}, "no HTTP header"),
        ({"base_urls": [HERE], "api_keys": {HERE: ""}}, "no HTTP header"),
        ({"base_urls": [HERE], "remote_model": " "}, "no name"),
        ({"base_urls": [HERE], "concurrency": 0}, "concurrency"),
    ],
)
def test_what_cannot_work_is_refused_with_a_reason(given, said):
    """When the configuration is read, and not with the first request."""
    with pytest.raises(ValidationError, match=said):
        UpstreamOptions.model_validate(given)
