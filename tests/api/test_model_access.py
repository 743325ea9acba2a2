"""Keys that may use some models only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from support.api_app import GOOD, HELD, SECOND, Api, Names, Setup, Start, sample_path
from support.realtime_client import realtime
from support.rings import Keys, a_key, sent
from whisper_router.api.model_access import AllowedModels
from whisper_router.errors import ModelNotAllowed, ModelNotFound
from whisper_router.live.events import LiveEvent
from whisper_router.live.turns import TurnOptions


class Listener:
    """Live sessions that hear and say nothing; notes the models of those that were begun."""

    duration_s = silence_s = 0.0
    is_speaking = False
    turns = TurnOptions()

    def __init__(self) -> None:
        self.opened: list[str] = []

    def alias(self, name: str) -> str:
        return name

    def check(self, request) -> None:
        """Find nothing wrong."""

    @asynccontextmanager
    async def open(self, request) -> AsyncIterator["Listener"]:
        self.opened.append(request.model)
        yield self

    def tune(self, turns) -> None:
        """Change nothing."""

    expect = tune

    async def hear(self, samples) -> None:
        """Hear nothing."""

    async def end(self) -> None:
        """Have nothing to end."""

    async def events(self) -> AsyncIterator[LiveEvent]:
        await asyncio.Event().wait()
        yield


async def transcribe(http: aiohttp.ClientSession, api: Api, path: str, model: str):
    form = aiohttp.FormData({"model": model})
    content = sample_path("en_hello_gb.wav").read_bytes()
    form.add_field("file", content, filename="a.wav")
    async with http.post(api.root + path, data=form, headers=sent("guest")) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/inference"])
@pytest.mark.parametrize(
    ("allowed", "named", "status", "code"),
    [
        (GOOD, GOOD, 200, None),
        (GOOD, SECOND, 200, None),
        (SECOND, GOOD, 200, None),
        (GOOD, HELD, 403, "model_not_allowed"),
        ("gone", GOOD, 403, "model_not_allowed"),
        (GOOD, "nothing", 404, "model_not_found"),
    ],
)
async def test_a_model_is_allowed_by_any_of_its_names(
    start: Start, http: aiohttp.ClientSession, path, allowed, named, status, code
):
    """What does not exist is still told apart from what is not allowed."""
    async with start(Setup(keys=Keys(a_key("guest", models=(allowed,))))) as api:
        found, body = await transcribe(http, api, path, named)
    assert (found, body.get("error", {}).get("code")) == (status, code)
    if status == 403:
        assert body["error"]["param"] == "model"
        assert f"only '{allowed}'" in body["error"]["message"]


async def test_only_those_are_listed(start: Start, http: aiohttp.ClientSession):
    """All lists, also those of other servers' APIs; one that is not is refused by its name."""
    async with start(Setup(keys=Keys(a_key("guest", models=(SECOND,)), a_key("all")))) as api:

        async def ids(path: str, name: str) -> set[str]:
            async with http.get(api.root + path, headers=sent(name)) as answer:
                return {entry["id"] for entry in (await answer.json())["data"]}

        for path in ("/v1/models", "/models", "/v1/registry"):
            assert await ids(path, "guest") == {GOOD}
            assert len(await ids(path, "all")) > 1
        async with http.get(f"{api.root}/models/org/model:q5", headers=sent("guest")) as answer:
            assert answer.status == 403
        async with http.get(f"{api.root}/v1/models/{GOOD}", headers=sent("guest")) as answer:
            assert answer.status == 200


async def test_live_sessions_and_secrets_are_held_to_it(start: Start, http: aiohttp.ClientSession):
    """Over HTTP before the session, and as an error event within it."""

    class Nobody:
        turns = TurnOptions()

        def alias(self, name: str) -> str:
            return name

        def check(self, request) -> None:
            """Find nothing wrong."""

        @asynccontextmanager
        async def open(self, request):
            raise AssertionError
            yield

    async with start(Setup(live=Nobody(), keys=Keys(a_key("guest", models=(GOOD,))))) as api:
        url = f"{api.root}/v1/audio/transcriptions?model={HELD}"
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(url, headers=sent("guest"))
        assert caught.value.status == 403
        session = {"type": "transcription", "audio": {"input": {"transcription": {"model": HELD}}}}
        url = f"{api.root}/v1/realtime/client_secrets"
        async with http.post(url, json={"session": session}, headers=sent("guest")) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"]) == (400, "invalid_model")
            assert "may not use" in error["message"]
        async with realtime(http, api.root, headers=sent("guest"), model=GOOD) as client:
            await client.send("session.update", session=session)
            event = await client.until("error")
            assert event["error"]["code"] == "invalid_model"


async def test_no_session_begins_with_a_model_that_it_may_not_use(
    start: Start, http: aiohttp.ClientSession
):
    """Neither with what is usual, nor with what a secret was made for before; until it is told."""
    keys = Keys(a_key("guest"), a_key("other", models=(HELD,)))
    live = Listener()
    async with start(Setup(live=live, keys=keys)) as api, asyncio.timeout(20):
        session = {"type": "transcription", "audio": {"input": {"transcription": {"model": HELD}}}}
        url = f"{api.root}/v1/realtime/client_secrets"
        async with http.post(url, json={"session": session}, headers=sent("guest")) as answer:
            secret = {"x-api-key": (await answer.json())["value"]}
        keys.keys[0] = a_key("guest", models=(GOOD,))
        for headers in (sent("other"), secret):
            async with realtime(http, api.root, headers=headers) as client:
                await client.append(bytes(4800))
                error = await client.error()
                assert (error["code"], error["param"]) == ("invalid_model", "model")
                assert "may not use" in error["message"]
                message = await client.socket.receive()
                assert message.data == 4000
                assert message.extra == "invalid_request_error.invalid_model"
        assert live.opened == []
        async with realtime(http, api.root, headers=secret) as client:
            await client.update(transcription={"model": GOOD})
        assert live.opened == [GOOD]


async def test_the_wrapper_passes_on_what_is_allowed():
    """Administrators' keys may have a list, too."""
    names = Names()
    models = AllowedModels(names, a_key("guest"), [GOOD, "absent/tiny"])
    assert await models.download("absent/tiny")
    assert await models.load(GOOD)
    assert list(models.loaded()) == [GOOD]  # `held` is loaded, too
    assert await models.unload(GOOD)
    await models.remove("absent/tiny")
    assert models.failing() == []
    assert models.alias(SECOND) == GOOD
    for forbidden in (models.load, models.unload, models.download, models.remove, models.model):
        with pytest.raises(ModelNotAllowed):
            await forbidden(HELD)
    with pytest.raises(ModelNotFound):
        models.check("nothing")
    with models.in_use(GOOD, 3.0):
        pass
    assert names.kept_alive == [(GOOD, 3.0)]
