"""Errors as answers."""

from collections.abc import MutableMapping
from typing import Any

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from support.api_app import BUG, GOOD, Api, sample_path
from whisper_router.api.problems import error_headers, problem
from whisper_router.errors import (
    AuthenticationRequired,
    EngineStartFailed,
    ModelUnavailable,
    RouterError,
    StorageFull,
    Unavailable,
    UploadTooLarge,
)

KEYS = {"message", "type", "param", "code"}


class Hasty(Unavailable):
    """Asks for no pause at all."""

    retry_after_s = 0


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Unavailable("busy"), 503, "1"),
        (StorageFull("full"), 503, "60"),
        (ModelUnavailable("coming"), 503, "10"),
        (Hasty("now"), 503, "1"),
        (EngineStartFailed("no"), 503, None),
        (UploadTooLarge("big"), 413, None),
    ],
)
def test_an_error_becomes_its_status_body_and_headers(
    error: RouterError, status: int, retry_after: str | None
):
    """Retry-After is whole seconds, at least one; the milliseconds are for the SDKs."""
    answer = problem(error)
    assert answer.status == status
    assert answer.content_type == "application/json"
    assert answer.headers.get("Retry-After") == retry_after
    assert answer.headers.get("retry-after-ms") == (retry_after and f"{retry_after}000")


def test_unauthorized_answers_name_the_scheme():
    """RFC 9110 asks for it."""
    assert error_headers(AuthenticationRequired("no"))["WWW-Authenticate"] == "Bearer"
    assert not error_headers(Unavailable("no"))


async def error_of(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    assert answer.content_type == "application/json"
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = (await answer.json())["error"]
    assert set(error) == KEYS
    return error


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/x"),
        ("GET", "/nothing"),
        ("POST", "/v1/audio/transcriptions/audio/transcriptions"),
        ("POST", "/v1/v1/audio/transcriptions"),
        ("GET", "/v1/audio/transcriptions/models"),
        ("POST", "/v1/audio/speeches"),
        ("GET", "/v1/models/"),
    ],
)
async def test_an_unknown_url_answers_with_the_right_one(
    api: Api, http: aiohttp.ClientSession, method: str, path: str
):
    """Contract case 13; people paste the whole endpoint as the base URL."""
    async with http.request(method, api.root + path) as answer:
        error = await error_of(answer)
    assert answer.status == 404
    assert error["type"] == "invalid_request_error"
    assert error["code"] is None
    assert f"({method} {path})" in error["message"]
    assert f"is {api.base_url} and audio goes to POST /v1/audio/trans" in error["message"]


async def test_a_very_long_url_is_not_repeated(api: Api, http: aiohttp.ClientSession):
    """An answer is not an echo."""
    async with http.get(f"{api.root}/{'x' * 5000}") as answer:
        assert len((await error_of(answer))["message"]) < 600


async def test_a_wrong_method_names_the_right_ones(api: Api, http: aiohttp.ClientSession):
    """Contract case 14."""
    async with http.get(f"{api.base_url}/audio/transcriptions") as answer:
        error = await error_of(answer)
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"
    assert "Allowed here: POST" in error["message"]


async def test_a_bug_is_a_bare_500_and_a_line_in_the_log(
    api: Api, logs: list[MutableMapping[str, Any]]
):
    """The client learns the request id, the log the cause under the same id."""
    async with AsyncOpenAI(base_url=api.base_url, api_key="x", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.audio.transcriptions.create(file=sample_path("en_hello_gb.wav"), model=BUG)
    assert "secret" not in str(caught.value.body)
    assert caught.value.type == "server_error"
    (line,) = [entry for entry in logs if entry["event"] == "request_failed"]
    assert line["request_id"] == caught.value.request_id
    assert line["exc_info"]


async def test_a_failing_engine_is_logged_with_its_reason(
    api: Api, http: aiohttp.ClientSession, logs: list[MutableMapping[str, Any]]
):
    """The operator reads why; a wrong request is the caller's business and is not logged so."""
    form = aiohttp.FormData({"model": "no-start"})
    form.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    async with http.post(f"{api.base_url}/audio/transcriptions", data=form) as answer:
        assert answer.status == 503
    refused = [entry for entry in logs if entry["event"] == "request_refused"]
    assert [entry["code"] for entry in refused] == ["engine_start_failed"]
    async with http.get(f"{api.base_url}/models/nope"):
        pass
    assert [entry for entry in logs if entry["event"] == "request_refused"] == refused


async def test_an_unknown_expectation_is_417(api: Api, http: aiohttp.ClientSession):
    """What aiohttp raises gets our body as well."""
    form = aiohttp.FormData({"model": GOOD}, default_to_multipart=True)
    async with http.post(
        f"{api.base_url}/audio/transcriptions", data=form, headers={"Expect": "magic"}
    ) as answer:
        await error_of(answer)
    assert answer.status == 417
