"""Requests that are answered at once and asked for later. Over HTTP: test_dialects_seeds.py."""

from pathlib import Path

import aiohttp
import pytest

from support.api_app import Start, sample, sample_path
from support.job_api import api_with_jobs
from support.job_runs import Failing
from whisper_router.api.dialects.kept import OwnId
from whisper_router.api.job_making import ID
from whisper_router.domain import Client
from whisper_router.errors import StorageFull


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


@pytest.mark.parametrize("method", ["record", "find"])
async def test_who_waits_gets_the_answer_although_it_cannot_be_kept(
    start: Start, tmp_path: Path, http: aiohttp.ClientSession, blocking_calls_fail, method: str
):
    """The disk of the jobs is full; nothing is there to be asked for afterwards."""
    blocking_calls_fail.deactivate()  # the store is opened in this loop
    name = "en_hello_gb.wav"
    async with api_with_jobs(start, tmp_path / "state") as jobs:
        failures = [StorageFull("The disk is full.") for _ in range(9)]
        Failing(jobs.store, method, *failures)
        form = aiohttp.FormData()
        form.add_field("file", sample_path(name).read_bytes(), filename=name)
        url = f"{jobs.api.root}/whisperx/v1/audio/transcriptions"
        async with http.post(url, data=form, headers={"X-Request-ID": "mine"}) as answer:
            assert answer.status == 200
            assert await answer.json() == {"text": sample(name)["text"]}
        assert list((await jobs.store.counts()).values()) == []
