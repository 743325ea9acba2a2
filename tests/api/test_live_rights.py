"""Live sessions whose key may not have them any more, and that send nothing."""

import asyncio
from datetime import UTC, datetime

import aiohttp
import pytest

from support.api_app import GOOD, HELD, SECOND, Setup, Start
from support.live_client import connected, told
from support.quiet_live import Listener
from support.realtime_client import realtime
from support.rings import Keys, a_key, sent
from whisper_router.api.deps import LiveLimits
from whisper_router.api.keys import Key, Scope

SOON = LiveLimits(look_at_key_s=0.02)


@pytest.mark.parametrize(
    ("now", "code", "reason"),
    [
        ([], "invalid_api_key", "was revoked"),
        ([a_key("laptop", disabled=True)], "invalid_api_key", "is disabled"),
        (
            [a_key("laptop", expires=datetime(2026, 1, 1, tzinfo=UTC))],
            "invalid_api_key",
            "has expired",
        ),
        (
            [a_key("laptop", scopes=frozenset({Scope.TRANSCRIBE}))],
            "insufficient_scope",
            "lacks the scope 'live'",
        ),
        (
            [a_key("laptop", models=(HELD,))],
            "model_not_allowed",
            "may not use the model 'whisper-1', only 'held'",
        ),
    ],
    ids=["revoked", "disabled", "expired", "no scope", "no model"],
)
async def test_it_ends_by_itself_and_says_why(
    start: Start, http: aiohttp.ClientSession, now: list[Key], code: str, reason: str
):
    """Over both protocols: a client that is silent would listen for an hour otherwise."""
    keys = Keys(a_key("laptop"))
    async with (
        start(Setup(live=Listener(), keys=keys, live_limits=SOON)) as api,
        asyncio.timeout(20),
        connected(http, api.root, headers=sent("laptop"), model=GOOD) as client,
        realtime(http, api.root, headers=sent("laptop"), model=GOOD) as other,
    ):
        keys.keys[:] = now
        error = await other.error()
        assert (error["code"], reason in error["message"]) == (code, True)
        message = await other.socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == 1008
        assert message.extra == f"{error['type']}.{code}"
        message = await client.receive()
        while message.type is aiohttp.WSMsgType.TEXT:
            message = await client.receive()
        assert message.data == 1008
        assert message.extra.startswith(f"{code}: ")
        assert reason in message.extra
        async with http.get(f"{api.root}/v1/activity", headers=sent("laptop")) as answer:
            if answer.status == 200:
                assert {item["code"] for item in (await answer.json())["history"]} == {code}


async def test_it_goes_on_while_it_may(start: Start, http: aiohttp.ClientSession):
    """A key that changes otherwise, or names the model by its other name, ends nothing."""
    keys = Counted(a_key("laptop"))
    async with (
        start(Setup(live=Listener(), keys=keys, live_limits=SOON)) as api,
        asyncio.timeout(20),
        connected(http, api.root, headers=sent("laptop"), model=GOOD) as client,
    ):
        await keys.looked_at(2)
        keys.keys[:] = [a_key("laptop", models=(SECOND,), scopes=frozenset({Scope.LIVE}))]
        await keys.looked_at(3)
        await client.send_bytes(b"")
        await told(client)
        assert client.close_code == 1000


class Counted(Keys):
    """Tells how often it was asked."""

    def __init__(self, *keys: Key) -> None:
        super().__init__(*keys)
        self.asked = asyncio.Semaphore(0)

    async def ring(self):
        self.asked.release()
        return await super().ring()

    async def looked_at(self, times: int) -> None:
        """Return after so many more looks."""
        while self.asked.locked() is False:
            await self.asked.acquire()
        for _ in range(times):
            await self.asked.acquire()
