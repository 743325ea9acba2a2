"""Requests that are answered at once and asked for later. Over HTTP: test_dialects_seeds.py."""

from whisper_router.api.dialects.kept import job_id_of
from whisper_router.api.job_making import ID
from whisper_router.domain import Client


def test_an_id_of_a_clients_own_is_no_other_clients():
    """Two keys may count from one."""
    ids = {
        job_id_of(Client(name=name), own_id)
        for name in ("", "a", "b", "a\0b")
        for own_id in ("1", "2", "b\0" + "1", "x" * 128)
    }
    assert len(ids) == 16
    assert all(ID.fullmatch(job_id) for job_id in ids)


def test_it_is_the_same_whenever_it_is_asked_for():
    client = Client(name="a")
    assert job_id_of(client, "mine") == job_id_of(client, "mine")
