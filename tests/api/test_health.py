"""What the server says of itself."""

import aiohttp
import pytest

from support.api_app import Api, Setup, Start
from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.services import Readiness


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/"])
async def test_the_root_says_what_this_is(api: Api, http: aiohttp.ClientSession, path: str):
    """To whatever asks; `/` alone shows a browser the page (test_ui.py)."""
    headers = {"Accept": "*/*" if path == "/" else "text/html"}
    async with http.get(api.root + path, headers=headers) as answer:
        body = await answer.json()
    assert body["name"] == "whisper-router"
    assert body["base_url"] == api.base_url
    assert body["docs"]
    assert "POST /v1/audio/transcriptions" in body["endpoints"]


async def test_every_endpoint_that_is_named_exists(api: Api, http: aiohttp.ClientSession):
    """The list is no wishful thinking."""
    async with http.get(api.root) as answer:
        endpoints = (await answer.json())["endpoints"]
    for endpoint in endpoints:
        method, path = endpoint.replace("{id}", "whisper-1").split()
        async with http.request(method, api.root + path) as answer:
            assert answer.status not in {405, 500}
            if answer.status == 404:  # of what is named, not of the URL
                assert (await answer.json())["error"]["code"] is not None


async def test_only_what_is_served_is_named(start: Start, http: aiohttp.ClientSession):
    """Dialects come and go with the configuration."""
    one = Setup(dialects=DialectOptions(enabled=frozenset({Dialect.WHISPER_ASR})))
    async with start(one) as api, http.get(api.root) as answer:
        endpoints = (await answer.json())["endpoints"]
    assert "POST /asr" in endpoints
    assert "POST /inference" not in endpoints


async def test_health_is_ok_as_long_as_we_live(start: Start, http: aiohttp.ClientSession):
    """Also when requests cannot be served: a restart would not help."""
    setup = Setup(readiness=Readiness(ok=False, reasons=["The model is not here."]))
    async with start(setup) as api, http.get(f"{api.root}/health") as answer:
        assert answer.status == 200
        assert (await answer.json())["status"] == "ok"


async def test_readiness_names_what_is_missing(start: Start, http: aiohttp.ClientSession):
    """503 with the reasons and a time to come back."""
    reasons = ["The model 'whisper-1' is not here.", "The disk is full."]
    setup = Setup(readiness=Readiness(ok=False, reasons=reasons))
    async with start(setup) as api, http.get(f"{api.root}/ready") as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "1"
        error = (await answer.json())["error"]
    assert error["message"] == " ".join(reasons)
    assert error["code"] == "not_ready"


async def test_ready_is_ready(api: Api, http: aiohttp.ClientSession):
    """200 for the load balancer."""
    async with http.get(f"{api.root}/ready") as answer:
        assert answer.status == 200
