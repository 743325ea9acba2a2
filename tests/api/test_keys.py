"""Keys and what they may do."""

from datetime import UTC, datetime, timedelta

import pytest

from whisper_router.api.keys import (
    Key,
    KeyRing,
    Scope,
    check_name,
    hash_key,
    new_key,
    plain_keys,
)
from whisper_router.errors import ConfigurationError

MADE = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def test_new_keys_are_long_random_and_recognisable():
    """256 bits are 43 characters of base64, after our prefix."""
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("wr-") and len(key) == 46 for key in keys)


def test_a_ring_identifies_its_own_keys_and_no_others():
    """The name comes back, so that the log can say who called."""
    ring = KeyRing(plain_keys(["first", "second"]), required=True)
    second = ring.identify("second")
    assert second is not None
    assert second.name == "api_key_2"
    assert ring.identify("secon") is None
    assert ring.identify("") is None
    assert ring.identify("sch\udcfcssel") is None


def test_a_disabled_key_is_not_identified():
    """Disabling is revoking without forgetting the name."""
    ring = KeyRing([Key(name="old", hash=hash_key("k"), disabled=True)], required=True)
    assert ring.identify("k") is None


def test_a_key_of_ours_is_found_among_many_by_its_hash():
    """No matter how many there are; a name alone finds disabled ones, too."""
    keys = [Key(name=f"k{number}", hash=hash_key(f"secret-{number}")) for number in range(2000)]
    keys.append(Key(name="off", hash=hash_key("off"), disabled=True))
    ring = KeyRing(keys, required=True)
    found = ring.identify("secret-1999")
    assert found is not None
    assert found.name == "k1999"
    assert ring.with_hash(hash_key("secret-7")) == keys[7]
    assert ring.with_hash(hash_key("off")) is None
    assert ring.named("off") == keys[-1]
    assert ring.named("nobody") is None


def test_no_key_has_the_name_of_one_that_is_given_in_plain_text():
    """They would have their usage, limits and jobs together."""
    for key in plain_keys(["first", "second"]):
        with pytest.raises(
            ConfigurationError, match=f"'{key.name}' is what a key given as API_KEY"
        ):
            check_name(key.name)
    for name in ("api_keys", "api_key_", "my_api_key", "api-key"):
        check_name(name)


def test_a_key_may_do_what_its_scopes_say_and_an_administrators_everything():
    """Old entries have none: they may do what they always could."""
    assert Key(name="old", hash="").allowed == [Scope.TRANSCRIBE, Scope.LIVE, Scope.JOBS]
    assert Key(name="old", hash="", admin=True).allowed == list(Scope)
    only = Key(name="new", hash="", scopes=frozenset({Scope.METRICS}))
    assert (only.allowed, only.is_admin) == ([Scope.METRICS], False)
    chief = Key(name="chief", hash="", scopes=frozenset({Scope.ADMIN}))
    assert (chief.allowed, chief.is_admin) == (list(Scope), True)


def test_a_key_expires_at_its_time():
    """Not a second before."""
    key = Key(name="guest", hash="", expires=MADE)
    at_s = MADE.timestamp()
    assert not key.has_expired(at_s - timedelta(seconds=1).total_seconds())
    assert key.has_expired(at_s)
    assert not Key(name="laptop", hash="").has_expired(at_s)
