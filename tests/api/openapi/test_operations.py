"""What is described as an administrator's is one's."""

import aiohttp

from support.api_app import Setup, Start
from whisper_router.api.keys import Key, KeyRing, hash_key
from whisper_router.api.openapi.operations import paths

ORDINARY = "secret-of-sixteen"


class OneOrdinaryKey:
    """Knows one key, which is no administrator's."""

    async def ring(self) -> KeyRing:
        return KeyRing([Key(name="ordinary", hash=hash_key(ORDINARY))], required=True)


async def test_ordinary_keys_are_refused_where_the_document_says_so(
    start: Start, http: aiohttp.ClientSession
):
    """403 is listed for what needs an administrator's key, and for nothing else here."""
    headers = {"Authorization": f"Bearer {ORDINARY}"}
    async with start(Setup(keys=OneOrdinaryKey())) as api:
        for path, operations in paths().items():
            url = api.root + path.replace("{id}", "x").replace("{alias}", "x")
            for method, operation in operations.items():
                async with http.request(method, url, headers=headers) as answer:
                    assert (answer.status == 403) == ("403" in operation["responses"]), path
