"""Keys in requests."""

from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from support.api_app import GOOD, Api, Setup, Start, sample_path
from whisper_router.api.auth import masked
from whisper_router.api.key_source import FixedKeys

KEY = "wr-0123456789abcdefghijk"


@pytest.fixture
async def closed(start: Start) -> AsyncIterator[Api]:
    """An API that asks for a key."""
    async with start(Setup(keys=FixedKeys([KEY]))) as api:
        yield api


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer  {KEY} "},
        {"Authorization": f"BEARER {KEY}"},
        {"x-api-key": KEY},
        {"Authorization": "Bearer ", "x-api-key": KEY},
        {"Authorization": "Basic abc", "X-API-Key": KEY},
    ],
)
async def test_a_known_key_passes_however_it_is_sent(
    closed: Api, http: aiohttp.ClientSession, headers: dict[str, str]
):
    """The scheme's case does not matter (RFC 9110 11.1)."""
    async with http.get(f"{closed.base_url}/models", headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": KEY}])
@pytest.mark.parametrize("path", ["/", "/v1", "/v1/models", "/models/x"])
async def test_no_key_is_401(
    closed: Api, http: aiohttp.ClientSession, path: str, headers: dict[str, str]
):
    """Contract case 9: a hint how to send one, code null."""
    async with http.get(closed.root + path, headers=headers) as answer:
        error = (await answer.json())["error"]
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert error["message"].startswith("You didn't provide an API key.")
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", None, None)


async def test_a_wrong_key_is_an_authentication_error(closed: Api):
    """Contract cases 8, 10 and 12: masked in the message, with the upload read to its end."""
    wrong = "wr-this-is-wrong-and-long-4711"
    async with AsyncOpenAI(base_url=closed.base_url, api_key=wrong, max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.audio.transcriptions.create(
                file=sample_path("en_two_speakers_long.wav"), model=GOOD
            )
    error = caught.value
    assert error.code == "invalid_api_key"
    assert error.request_id
    assert "wr-…4711" in str(error)
    assert wrong not in str(error.body)


@pytest.mark.parametrize("sent", ["ключ", "\udcff\udcfe", "x" * 4000, "***"])
async def test_strange_keys_are_refused_not_crashed_on(
    closed: Api, http: aiohttp.ClientSession, sent: str
):
    """Header bytes can be anything."""
    headers = {"x-api-key": sent.encode("utf-8", "surrogateescape").decode("latin-1")}
    async with http.get(f"{closed.base_url}/models", headers=headers) as answer:
        assert answer.status == 401


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_health_checks_need_no_key(
    closed: Api, http: aiohttp.ClientSession, method: str, path: str
):
    """Orchestrators have none."""
    async with http.request(method, closed.root + path) as answer:
        assert answer.status == 200


async def test_wrong_urls_are_explained_without_a_key(closed: Api, http: aiohttp.ClientSession):
    """The hint is for whoever cannot get it right yet."""
    async with http.post(f"{closed.root}/v1/v1/audio/transcriptions") as answer:
        assert answer.status == 404
        assert closed.base_url in (await answer.json())["error"]["message"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer anything"}])
async def test_without_configured_keys_everybody_may_call(
    api: Api, http: aiohttp.ClientSession, headers: dict[str, str]
):
    """Clients must send something, and it may be anything."""
    async with http.get(f"{api.base_url}/models", headers=headers) as answer:
        assert answer.status == 200


async def test_the_log_names_the_key_and_never_shows_it(
    closed: Api, http: aiohttp.ClientSession, logs: list[MutableMapping[str, Any]]
):
    """Who called, not with what."""
    async with http.get(f"{closed.base_url}/models?key={KEY}", headers={"x-api-key": KEY}):
        pass
    (line,) = [entry for entry in logs if entry["event"] == "request_done"]
    assert line["key"] == "api_key"
    assert KEY not in repr(logs)


@pytest.mark.parametrize(
    ("key", "shown"), [("short", "***"), ("sk-0123456789abcd", "sk-…abcd"), ("", "***")]
)
def test_a_masked_key_is_recognisable_and_useless(key: str, shown: str):
    """A short key is not shown at all."""
    assert masked(key) == shown
