"""Secrets that end by themselves."""

import pytest

from whisper_router.api.client_secrets import ClientSecrets
from whisper_router.errors import QueueFull


def test_a_secret_is_good_until_its_time_is_over():
    """It is new each time, and knows its owner and its session."""
    kept = ClientSecrets()
    one = kept.make(seconds=60, owner=None, session="one")
    two = kept.make(seconds=60, owner=None, session="two", is_beta=True)
    assert one.value.startswith("ek_")
    assert one.value != two.value
    assert kept.find(one.value) is one
    assert kept.find(two.value).is_beta
    over = kept.make(seconds=-1, owner=None, session=None)
    for value in (over.value, "ek_other", ""):
        assert kept.find(value) is None


def test_there_are_only_so_many():
    """Those whose time is over make room."""
    kept = ClientSecrets(most=2)
    kept.make(seconds=-1, owner=None, session=None)
    for _ in range(2):
        kept.make(seconds=60, owner=None, session=None)
    with pytest.raises(QueueFull):
        kept.make(seconds=60, owner=None, session=None)
