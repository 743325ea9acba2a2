"""Keys in requests."""

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from blockbuster import BlockBuster
from openai import AsyncOpenAI

from support.api_app import GOOD, Api, Setup, Start, sample_path
from support.job_api import JobApi, api_with_jobs
from whisper_router.api.auth import masked
from whisper_router.api.cors import CorsPolicy
from whisper_router.api.key_source import FixedKeys

KEY = "wr-0123456789abcdefghijk"
PAGE, EVIL = "https://page.example", "https://evil.example"


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


URL = "http://127.0.0.1:9/a.wav"
CALLS_OUT = [
    ("/v1/audio/transcriptions", {"model": GOOD, "url": URL}),
    ("/v1/audio/translations", {"model": GOOD, "audio_url": URL}),
    ("/inference", {"url": URL}),
    ("/v1/audio/speech/timestamps", {"url": URL}),
    ("/v1/audio/diarization", {"url": URL}),
    ("/whisperx/v1/audio/transcriptions", {"audio_url": URL}),
    ("/whisperx/v1/audio/transcriptions", {"callback_url": URL}),
    ("/v1/jobs", {"url": URL}),
    ("/v1/jobs", {"webhook_url": URL}),
    ("/v1/jobs", {"webhook": URL}),
    ("/v1/audio/transcriptions", {"model": GOOD, "async": "true", "webhook": URL}),
]


def form(fields: dict[str, str]) -> aiohttp.FormData:
    data = aiohttp.FormData(fields)
    if fields.keys() & {"url", "audio_url"}:
        data.add_field("other", "", content_type="text/plain")  # so it is multipart
        return data
    data.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    return data


@pytest.fixture
async def with_jobs(
    start: Start, tmp_path: Path, blocking_calls_fail: BlockBuster
) -> AsyncIterator[JobApi]:
    """An open API with jobs, which one page may use."""
    blocking_calls_fail.deactivate()  # the store is opened in this loop
    cors = CorsPolicy(origins=(PAGE,))
    async with api_with_jobs(start, tmp_path / "state", cors=cors) as jobs:
        yield jobs


@pytest.mark.parametrize(("path", "fields"), CALLS_OUT)
async def test_no_page_of_another_site_has_this_server_call_anybody(
    with_jobs: JobApi, http: aiohttp.ClientSession, path: str, fields: dict[str, str]
):
    """A browser sends a form without asking. Our own page, one that is named and programs may."""
    url = with_jobs.api.root + path
    async with http.post(url, data=form(fields), headers={"Origin": EVIL}) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (403, "permission_denied"), error
    assert await with_jobs.store.counts() == {}
    for headers in ({}, {"Origin": PAGE}, {"Origin": with_jobs.api.root}):
        async with http.post(url, data=form(fields), headers=headers) as answer:
            text = await answer.text()
            assert answer.status == (422 if "whisperx" in path else 400), text
            assert "address" in text


async def test_a_page_with_a_key_may_name_an_address(closed: Api, http: aiohttp.ClientSession):
    """It was given the key."""
    headers = {"Origin": EVIL, "x-api-key": KEY}
    async with http.post(
        f"{closed.base_url}/audio/transcriptions",
        data=form({"model": GOOD, "url": URL}),
        headers=headers,
    ) as answer:
        assert answer.status == 400


async def test_any_page_may_have_its_own_audio_transcribed(api: Api, http: aiohttp.ClientSession):
    """Which it could not read the answer of; nobody is called."""
    async with http.post(
        f"{api.base_url}/audio/transcriptions",
        data=form({"model": GOOD}),
        headers={"Origin": EVIL},
    ) as answer:
        assert answer.status == 200
