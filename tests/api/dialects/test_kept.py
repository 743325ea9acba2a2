"""Requests that are answered at once and asked for later. Over HTTP: test_dialects_seeds.py."""

from whisper_router.api.dialects.kept import OwnId
from whisper_router.api.job_making import ID
from whisper_router.domain import Client


def test_an_id_of_a_clients_own_is_no_other_clients():
    """Two keys may count from one, and so may two dialects."""
    ids = {
        OwnId(dialect=dialect, own_id=own_id).job_id(Client(name=name))
        for dialect in ("a", "b")
        for name in ("", "a", "b", "a\0b")
        for own_id in ("1", "2", "b\0" + "1", "x" * 128)
    }
    assert len(ids) == 32
    assert all(ID.fullmatch(job_id) for job_id in ids)


def test_it_is_the_same_whenever_it_is_asked_for():
    client, own = Client(name="a"), OwnId(dialect="d", own_id="mine")
    assert own.job_id(client) == OwnId(dialect="d", own_id="mine").job_id(client)
