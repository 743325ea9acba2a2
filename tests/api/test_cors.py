"""Browsers on other origins."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.api_app import Api, Setup, Start
from whisper_router.api.cors import CorsPolicy
from whisper_router.api.key_source import FixedKeys

PAGE = "https://page.example"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
}


@pytest.fixture
async def shared(start: Start) -> AsyncIterator[Api]:
    """An API that one page may use, with a key."""
    async with start(Setup(cors=CorsPolicy(origins=(PAGE,)), keys=FixedKeys(["k"]))) as api:
        yield api


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/models/a%2Fb", "/x", "/health"])
async def test_a_preflight_is_answered_everywhere_without_a_key(
    shared: Api, http: aiohttp.ClientSession, path: str
):
    """Contract case 17: browsers send no key with it."""
    async with http.options(shared.root + path, headers=PREFLIGHT) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert "POST" in answer.headers["Access-Control-Allow-Methods"]
        allowed = answer.headers["Access-Control-Allow-Headers"]
        assert allowed == PREFLIGHT["Access-Control-Request-Headers"]
        assert answer.headers["Vary"] == "Origin"


async def test_errors_carry_the_headers_too(shared: Api, http: aiohttp.ClientSession):
    """A page must be able to read why it was refused, and the id."""
    for path, status in (("/v1/models", 401), ("/v1/x", 404), ("/health", 200)):
        async with http.get(shared.root + path, headers={"Origin": PAGE}) as answer:
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert "x-request-id" in answer.headers["Access-Control-Expose-Headers"]


async def test_other_origins_get_nothing(shared: Api, http: aiohttp.ClientSession):
    """The browser then keeps the answer from the page; caches must know that it depends."""
    headers = {**PREFLIGHT, "Origin": "https://evil.example"}
    async with http.options(f"{shared.root}/v1/models", headers=headers) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


async def test_a_star_allows_every_origin(start: Start, http: aiohttp.ClientSession):
    """For a machine that only the house can reach."""
    async with (
        start(Setup(cors=CorsPolicy(origins=("*",)))) as api,
        http.options(f"{api.root}/v1/models", headers=PREFLIGHT) as answer,
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_it_is_off_by_default(api: Api, http: aiohttp.ClientSession):
    """A preflight is then an ordinary wrong method."""
    async with http.options(f"{api.root}/v1/models", headers=PREFLIGHT) as answer:
        assert answer.status == 405
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("wanted", ["", "bad header\x0b", "x" * 5000])
async def test_odd_header_lists_are_not_echoed(
    shared: Api, http: aiohttp.ClientSession, wanted: str
):
    """The usual ones are offered instead."""
    headers = {**PREFLIGHT, "Access-Control-Request-Headers": wanted.strip()}
    if "\x0b" in wanted:
        headers["Access-Control-Request-Headers"] = "bad=header; x"
    async with http.options(f"{shared.root}/v1/models", headers=headers) as answer:
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_origins_are_compared_without_case_and_final_slash():
    """As people write them into a setting."""
    policy = CorsPolicy(origins=("https://Page.Example/",))
    assert policy.headers(PAGE)["Access-Control-Allow-Origin"] == PAGE
    assert policy.headers(None) == {}
