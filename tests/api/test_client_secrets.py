"""Secrets that end by themselves."""

from support.rings import a_key
from whisper_router.api.client_secrets import ClientSecrets


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


def test_each_key_has_so_many_and_loses_its_oldest():
    """Who makes more is in nobody else's way."""
    kept = ClientSecrets(most=2)
    other = kept.make(seconds=60, owner=a_key("other"), session=None)
    nobodys = kept.make(seconds=60, owner=None, session=None)
    made = [kept.make(seconds=60, owner=a_key("greedy"), session=None) for _ in range(5)]
    assert [kept.find(one.value) for one in made] == [None, None, None, *made[3:]]
    assert kept.find(other.value) is other
    assert kept.find(nobodys.value) is nobodys
    assert len(kept) == 4


def test_those_whose_time_is_over_take_no_room():
    """Whether somebody asks for them or not."""
    kept = ClientSecrets(most=2)
    good = kept.make(seconds=60, owner=a_key("one"), session=None)
    over = kept.make(seconds=-1, owner=a_key("one"), session=None)
    assert kept.find(over.value) is None
    kept.make(seconds=60, owner=a_key("one"), session=None)
    assert kept.find(good.value) is good
    for name in ("two", "three"):
        kept.make(seconds=-1, owner=a_key(name), session=None)
    assert len(kept) == 4
    kept.sweep()
    assert len(kept) == 2
