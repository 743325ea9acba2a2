"""speaches: the models, those that are loaded, and who may change that."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from yarl import URL

from support.api_app import GOOD, HELD, Api, Setup, Start
from whisper_router.api.keys import Key, KeyRing, hash_key

SPEECH = "automatic-speech-recognition"


async def call(
    http: aiohttp.ClientSession, api: Api, method: str, path: str, **headers: str
) -> tuple[int, Any]:
    """Return status and body: JSON where it is that, else text."""
    url = URL(f"{api.root}{path}", encoded=True)
    async with http.request(method, url, headers=headers) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, await (answer.json() if is_json else answer.text())


async def ids(http: aiohttp.ClientSession, api: Api, path: str) -> list[str]:
    status, body = await call(http, api, "GET", path)
    assert (status, body["object"]) == (200, "list")
    return [model["id"] for model in body["data"]]


async def test_models_are_listed_by_task(http: aiohttp.ClientSession, api: Api):
    """All of ours recognise speech; the registry has those that are not here, too."""
    assert await ids(http, api, "/v1/models") == [GOOD, "org/model:q5"]
    assert await ids(http, api, f"/v1/models?task={SPEECH}") == [GOOD, "org/model:q5"]
    assert await ids(http, api, "/v1/models?task=text-to-speech") == []
    assert await ids(http, api, f"/v1/registry?task={SPEECH}") == [
        GOOD, "org/model:q5", "absent/tiny",
    ]  # fmt: skip
    assert await ids(http, api, "/v1/registry?task=speaker-embedding") == []


async def test_a_task_that_nobody_knows_is_refused(http: aiohttp.ClientSession, api: Api):
    status, body = await call(http, api, "GET", "/v1/models?task=dancing")
    assert (status, body["error"]["param"]) == (400, "task")
    assert body["detail"] == body["error"]["message"]


@pytest.mark.parametrize("spelling", ["org/model:q5", "org%2Fmodel:q5", "org%2fmodel%3Aq5"])
async def test_a_model_has_languages_and_a_task(
    http: aiohttp.ClientSession, api: Api, spelling: str
):
    """Beside what the OpenAI API says of it; slashes in ids may be encoded or not."""
    status, body = await call(http, api, "GET", f"/v1/models/{spelling}")
    assert status == 200
    assert (body["id"], body["object"], body["owned_by"]) == ("org/model:q5", "model", "house")
    assert (body["language"], body["task"]) == (["en", "de"], SPEECH)
    assert (body["created"], body["state"]) == (1_790_000_000, "ready")


async def test_a_model_is_downloaded_once_and_removed(http: aiohttp.ClientSession, api: Api):
    """With the status codes of that server, which are the wrong way round."""
    path = "/v1/models/absent%2Ftiny"
    assert await call(http, api, "POST", path) == (200, "Model 'absent/tiny' downloaded")
    assert await call(http, api, "POST", path) == (201, "Model 'absent/tiny' already exists")
    removed = {"detail": "Model 'absent/tiny' deleted"}
    assert await call(http, api, "DELETE", path) == (200, removed)
    assert (await call(http, api, "DELETE", path))[0] == 404
    status, body = await call(http, api, "DELETE", f"/v1/models/{GOOD}")
    assert (status, body["error"]["code"]) == (403, "permission_denied")


async def test_a_model_is_loaded_and_unloaded(http: aiohttp.ClientSession, api: Api):
    """One that somebody uses stays."""
    path = "/api/ps/org/model:q5"
    assert await call(http, api, "GET", "/api/ps") == (200, {"models": [HELD]})
    assert (await call(http, api, "POST", path))[0] == 201
    status, body = await call(http, api, "POST", path)
    assert (status, body["error"]["code"]) == (409, "model_loaded")
    assert await call(http, api, "GET", "/api/ps") == (200, {"models": [HELD, "org/model:q5"]})
    assert (await call(http, api, "DELETE", path))[0] == 200
    status, body = await call(http, api, "DELETE", path)
    assert (status, body["error"]["code"]) == (404, "model_not_loaded")
    status, body = await call(http, api, "DELETE", f"/api/ps/{HELD}")
    assert (status, body["error"]["code"]) == (409, "model_in_use")


CHANGES = [
    ("POST", "/v1/models/{}"), ("DELETE", "/v1/models/{}"),
    ("POST", "/api/ps/{}"), ("DELETE", "/api/ps/{}"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_an_unknown_model_is_not_found(
    http: aiohttp.ClientSession, api: Api, method: str, path: str
):
    status, body = await call(http, api, method, path.format("no/such%20one"))
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert "no/such one" in body["detail"]


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_only_administrators_change_anything(
    http: aiohttp.ClientSession, start: Start, method: str, path: str
):
    """An ordinary key may look."""
    ring = KeyRing([Key(name="clerk", hash=hash_key("of-the-clerk"))], required=True)

    class Ring:
        async def ring(self) -> KeyRing:
            return ring

    clerk: Mapping[str, str] = {"Authorization": "Bearer of-the-clerk"}
    async with start(Setup(keys=Ring())) as api:
        status, body = await call(http, api, method, path.format("absent/tiny"), **clerk)
        assert (status, body["error"]["code"]) == (403, "insufficient_scope")
        assert (await call(http, api, "GET", "/api/ps", **clerk))[0] == 200
        assert (await call(http, api, "GET", "/v1/registry", **clerk))[0] == 200
        assert api.names.running == {HELD}
        assert not api.names.downloaded


async def test_there_are_no_voices(http: aiohttp.ClientSession, api: Api):
    """And no models for them: a page that looks for voices finds an empty list."""
    assert await call(http, api, "GET", "/v1/audio/voices") == (
        200, {"voices": [], "object": "list"},
    )  # fmt: skip
    assert await call(http, api, "GET", "/v1/audio/models") == (
        200, {"models": [], "object": "list"},
    )  # fmt: skip
