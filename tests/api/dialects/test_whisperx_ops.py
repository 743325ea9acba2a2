"""What its operators may do. With engines: tests/whole/test_dialects_seeds.py."""

import aiohttp
import pytest

from support.api_app import Api, Setup, Start
from whisper_router.api.key_source import FixedKeys


@pytest.mark.parametrize("root", ["", "/whisperx"])
async def test_health_needs_no_key(start: Start, http: aiohttp.ClientSession, root: str):
    """Orchestrators have none."""
    async with start(Setup(keys=FixedKeys(["secret"]))) as api:
        async with http.get(f"{api.root}{root}/healthcheck") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "healthy"})
        async with http.get(f"{api.root}{root}/info") as answer:
            assert answer.status == 401
            assert "detail" in await answer.json()


@pytest.mark.parametrize(
    "path",
    [
        f"/{kind}/{deed}"
        for kind in ("models", "align_models", "diarize_models")
        for deed in ("load", "unload")
    ],
)
async def test_what_is_missing_is_named(api: Api, http: aiohttp.ClientSession, path: str):
    async with http.post(api.root + path, data={"other": "x"}) as answer:
        assert answer.status == 400
        expected = "language" if path.startswith("/align") else "model"
        assert (await answer.json())["error"]["param"] == expected
