"""What the document says of work agrees with what is answered."""

import aiohttp

from support.api_app import Api, sample_path
from whisper_router.api.openapi.activity import schemas


async def test_the_answer_has_the_documents_keys(api: Api, http: aiohttp.ClientSession):
    """All of them, and no others."""
    form = aiohttp.FormData({"model": "whisper-1"})
    form.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    async with http.post(f"{api.base_url}/audio/transcriptions", data=form) as answer:
        assert answer.status == 200
    async with http.get(f"{api.base_url}/activity") as answer:
        body = await answer.json()
    described = schemas()
    assert body.keys() == described["Activity"]["properties"].keys()
    assert body["history"][0].keys() == described["EndedWork"]["properties"].keys()
