"""The document and its page over HTTP."""

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from support.api_app import Api, Setup, Start
from whisper_router.api.key_source import FixedKeys
from whisper_router.api.openapi.page import POLICY


async def test_the_document_is_served(api: Api, http: aiohttp.ClientSession):
    """As JSON that tools take."""
    async with http.get(f"{api.root}/openapi.json") as answer:
        assert answer.headers["Content-Type"] == "application/json"
        told = await answer.json()
    OpenAPIV31SpecValidator(told).validate()
    assert told["info"]["title"] == "whisper-router"
    assert told["servers"] == [{"url": "/"}]


async def test_the_page_is_served_with_its_policy(api: Api, http: aiohttp.ClientSession):
    """It may load nothing, and be framed by nobody."""
    async with http.get(f"{api.root}/docs") as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "createTranscription" in await answer.text()


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_both_are_open(start: Start, http: aiohttp.ClientSession, path: str):
    """Whoever is about to configure a client has no key at hand; HEAD works as well."""
    async with start(Setup(keys=FixedKeys(["secret-of-sixteen"]))) as api:
        async with http.get(api.root + path) as answer:
            assert answer.status == 200
        async with http.head(api.root + path) as answer:
            assert answer.status == 200
            assert await answer.read() == b""


async def test_the_root_names_both(api: Api, http: aiohttp.ClientSession):
    """With whole addresses, for a person who opens it."""
    async with http.get(api.root) as answer:
        body = await answer.json()
    assert body["openapi"] == f"{api.root}/openapi.json"
    assert body["reference"] == f"{api.root}/docs"
