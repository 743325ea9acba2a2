"""What its operators may do. With engines: tests/whole/test_dialects_seeds.py."""

from collections.abc import Sequence

import aiohttp
import pytest

from support.api_app import GOOD, HELD, Api, NoProcesses, Setup, Start
from support.rings import Keys, a_key, sent
from whisper_router.api.key_source import FixedKeys
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.status import PoolStatus


class TwoModels(NoProcesses):
    """Engines of two models serve."""

    async def statuses(self) -> Sequence[PoolStatus]:
        return [
            PoolStatus(
                alias=alias,
                engine=f"engine-of-{alias}",
                state=State.READY,
                processes=[],
                leases=0,
                waiting=0,
                capacity=1,
                model=None,
                requested=None,
                idle_unload_s=None,
                last_error=None,
                breaker=BreakerState.CLOSED,
                is_pinned=False,
            )
            for alias in (GOOD, HELD)
        ]


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


async def test_a_key_sees_the_models_that_it_may_use(start: Start, http: aiohttp.ClientSession):
    """And nothing of others, in whatever state they are."""
    keys = Keys(a_key("guest", models=(GOOD,)), a_key("all"))
    async with start(Setup(keys=keys, processes=TwoModels())) as api:
        await api.names.load(GOOD)
        for path in ("/info", "/info?detail=full", "/models/list", "/models/catalog"):
            for name, is_shown in (("all", True), ("guest", False)):
                async with http.get(api.root + path, headers=sent(name)) as answer:
                    text = await answer.text()
                assert f'"{GOOD}"' in text
                assert (HELD in text) is is_shown
