"""What `/v1/usage` answers is as it is described."""

import aiohttp
from openapi_spec_validator import validate

from support.api_app import Api
from whisper_router.api.openapi.usage import paths, schemas


async def test_answers_have_the_keys_of_their_schema(api: Api, http: aiohttp.ClientSession):
    """All of them, and no others."""
    described = schemas()
    async with http.get(f"{api.root}/v1/usage") as answer:
        body = await answer.json()
    assert body.keys() == described["Usage"]["properties"].keys()
    for part in ("limits", "now", "today", "total"):
        assert body[part].keys() == described["Usage"]["properties"][part]["properties"].keys()
    assert paths().keys() == {"/v1/usage", "/v1/usage/keys"}


async def test_scopes_and_limits_are_in_the_document(api: Api, http: aiohttp.ClientSession):
    """403 where a scope is needed, 429 where requests are counted."""
    async with http.get(f"{api.root}/openapi.json") as answer:
        document = await answer.json()
    validate(document)
    post = document["paths"]["/v1/audio/transcriptions"]["post"]["responses"]
    assert {"403", "429"} <= post.keys()
    assert "403" not in document["paths"]["/v1/models"]["get"]["responses"]
    assert "429" not in document["paths"]["/v1/jobs"]["get"]["responses"]
    assert "403" in document["paths"]["/v1/jobs"]["get"]["responses"]
