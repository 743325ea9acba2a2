"""`/v1/usage`."""

from datetime import UTC, datetime

import aiohttp

from support.api_app import GOOD, Setup, Start, sample_path
from support.rings import Keys, a_key, sent
from whisper_router.api.keys import Scope
from whisper_router.api.limits.account import Clocks
from whisper_router.api.limits.keeper import UsageKeeper

NOON_S = 1_795_305_600.0 + 43_200.0
CLOCKS = Clocks(monotonic=lambda: 100.0, unix=lambda: NOON_S)


async def test_a_key_sees_its_own_and_an_administrators_sees_all(
    start: Start, http: aiohttp.ClientSession
):
    """Also those of keys that never called."""
    keys = Keys(
        a_key(
            "laptop",
            models=(GOOD,),
            requests_per_minute=60,
            audio_minutes_per_day=1.5,
            expires=datetime(2999, 1, 1, tzinfo=UTC),
        ),
        a_key("chief", scopes=frozenset({Scope.ADMIN})),
    )
    async with start(Setup(keys=keys, usage=UsageKeeper(clocks=CLOCKS))) as api:
        form = aiohttp.FormData({"model": GOOD})
        form.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
        url = f"{api.root}/v1/audio/transcriptions"
        async with http.post(url, data=form, headers=sent("laptop")) as answer:
            assert answer.status == 200
        async with http.post(url, data=b"nothing", headers=sent("laptop")) as answer:
            assert answer.status == 400
        async with http.get(f"{api.root}/v1/usage", headers=sent("laptop")) as answer:
            own = await answer.json()
        async with http.get(f"{api.root}/v1/usage/keys", headers=sent("chief")) as answer:
            every = await answer.json()
    figures = {"requests": 2, "errors": 1, "audio_seconds": 1.03}
    assert own == {
        "object": "usage",
        "key": "laptop",
        "scopes": ["transcribe", "live", "jobs"],
        "models": [GOOD],
        "expires_at": int(datetime(2999, 1, 1, tzinfo=UTC).timestamp()),
        "limits": {
            "requests_per_minute": 60,
            "concurrent_requests": None,
            "audio_minutes_per_day": 1.5,
        },
        "now": {"requests_in_minute": 2, "concurrent_requests": 0},
        "today": {"date": "2026-11-22", **figures},
        "total": {**figures, "since": int(NOON_S)},
    }
    assert every["object"] == "list"
    assert every["data"][0] == own
    chief = every["data"][1]
    assert (chief["key"], chief["scopes"]) == ("chief", list(Scope))
    assert (chief["total"]["requests"], chief["models"], chief["expires_at"]) == (0, None, None)


async def test_without_keys_there_is_one_for_everybody(api, http: aiohttp.ClientSession):
    """Who may do everything."""
    async with http.get(f"{api.root}/v1/usage/keys") as answer:
        (everybody,) = (await answer.json())["data"]
    assert everybody["key"] is None
    assert everybody["scopes"] == list(Scope)
    assert set(everybody["limits"].values()) == {None}
