"""The machine and its checks over HTTP: shapes, streams and who may ask."""

import json

import pytest

from support.api_app import Setup
from whisper_router.api.key_source import KeyFile
from whisper_router.api.keys import hash_key

FOUND = [
    {"verdict": "ok", "subject": "cpu", "text": "4 cores"},
    {"verdict": "warning", "subject": "clock", "text": "it is late"},
]


async def test_the_system_is_told(api, http):
    """With its kind."""
    async with http.get(f"{api.base_url}/system") as answer:
        assert await answer.json() == {"object": "system", "version": "0.0.1"}


async def test_findings_are_a_list_or_events(api, http):
    """As the client wants them; the events have an end."""
    url = f"{api.base_url}/system/doctor"
    async with http.post(url) as answer:
        assert await answer.json() == {"object": "list", "data": FOUND}
    async with http.post(url, headers={"Accept": "text/event-stream"}) as answer:
        assert answer.content_type == "text/event-stream"
        lines = (await answer.text()).splitlines()
    assert [json.loads(line[6:]) for line in lines if line] == [*FOUND, {"type": "done"}]


@pytest.fixture
def keys(tmp_path):
    """An ordinary key."""
    path = tmp_path / "keys.toml"
    path.touch(mode=0o600)
    path.write_text(f'[keys.ann]\nhash = "{hash_key("ann")}"\n')
    return KeyFile(path)


@pytest.mark.parametrize(("method", "path"), [("GET", "system"), ("POST", "system/doctor")])
async def test_ordinary_keys_are_told_nothing(start, http, keys, method, path):
    """Paths and versions are an administrator's business; checks take time."""
    async with start(Setup(keys=keys)) as api:
        headers = {"Authorization": "Bearer ann"}
        async with http.request(method, f"{api.base_url}/{path}", headers=headers) as answer:
            assert answer.status == 403


async def test_pages_of_other_sites_start_no_checks(api, http):
    """Where no key is needed a browser would let them."""
    headers = {"Origin": "http://elsewhere.example"}
    async with http.post(f"{api.base_url}/system/doctor", headers=headers) as answer:
        assert answer.status == 403
