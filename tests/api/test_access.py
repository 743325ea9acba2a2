"""Which route needs which scope."""

from datetime import UTC, datetime

import aiohttp
import pytest

from support.api_app import GOOD, Setup, Start, sample_path
from support.job_api import api_with_jobs
from support.rings import Keys, a_key, sent
from whisper_router.api.access import RULES, check_scope
from whisper_router.api.client_secrets import ClientSecrets
from whisper_router.api.deps import DEPS, DialectOptions
from whisper_router.api.keys import Scope
from whisper_router.errors import InsufficientScope

LIVE, JOBS, TRANSCRIBE = Scope.LIVE, Scope.JOBS, Scope.TRANSCRIBE


def clip(**fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData({"model": GOOD, **fields})
    content = sample_path("en_hello_gb.wav").read_bytes()
    form.add_field("file", content, filename="a.wav")
    return form


@pytest.mark.parametrize("is_root", [False, True])
async def test_every_route_that_is_registered_is_in_the_table(start: Start, is_root: bool):
    """A new one is for administrators until it is, so nothing is open by mistake."""
    async with start(Setup(dialects=DialectOptions(whisperx_root=is_root))) as api:
        registered = {
            (route.method, route.resource.canonical)
            for route in api.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    assert registered
    assert registered <= RULES.keys()


def test_a_refusal_names_the_scope_that_is_missing():
    with pytest.raises(InsufficientScope, match=r"'bot' lacks the scope 'jobs'.*transcribe"):
        check_scope(a_key("bot", scopes=frozenset({TRANSCRIBE})), JOBS)
    check_scope(a_key("chief", admin=True), JOBS)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/audio/transcriptions", "transcribe"),
        ("POST", "/audio/translations", "transcribe"),
        ("POST", "/asr", "transcribe"),
        ("POST", "/inference", "transcribe"),
        ("POST", "/", "transcribe"),
        ("POST", "/whisperx/v1/audio/transcriptions", "transcribe"),
        ("GET", "/v1/audio/transcriptions", "live"),
        ("GET", "/v1/realtime", "live"),
        ("POST", "/v1/realtime/client_secrets", "live"),
        ("POST", "/v1/jobs", "jobs"),
        ("HEAD", "/v1/jobs", "jobs"),
        ("GET", "/metrics", "metrics"),
        ("GET", "/v1/processes", "admin"),
        ("GET", "/v1/usage/keys", "admin"),
        ("POST", "/v1/models/whisper-1", "admin"),
        ("POST", "/whisperx/models/load", "admin"),
    ],
)
async def test_a_route_is_refused_without_its_scope_and_not_with_it(
    start: Start, http: aiohttp.ClientSession, method: str, path: str, scope: str
):
    """Each of the other scopes is not enough; the one that is missing is named."""
    others = frozenset(Scope) - {Scope(scope), Scope.ADMIN}
    keys = Keys(a_key("other", scopes=others), a_key("right", scopes=frozenset({Scope(scope)})))
    async with start(Setup(keys=keys)) as api:
        async with http.request(method, api.root + path, headers=sent("other")) as answer:
            assert answer.status == 403
            if method != "HEAD":
                error = (await answer.json())["error"]
                assert error["code"] == "insufficient_scope"
                assert f"scope '{scope}'" in error["message"]
        async with http.request(method, api.root + path, headers=sent("right")) as answer:
            assert answer.status != 403
            await answer.read()


async def test_any_key_may_look_at_models_and_at_its_own_usage(
    start: Start, http: aiohttp.ClientSession
):
    """Also one for metrics alone."""
    keys = Keys(a_key("metrics", scopes=frozenset({Scope.METRICS})))
    async with start(Setup(keys=keys)) as api:
        for path in ("/v1/models", "/v1/usage", "/"):
            async with http.get(api.root + path, headers=sent("metrics")) as answer:
                assert answer.status == 200


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/audio/transcriptions", {"async": "true"}),
        ("/whisperx/v1/audio/transcriptions", {"async": "true"}),
    ],
)
async def test_a_job_needs_its_scope_wherever_it_is_made(
    start: Start, http: aiohttp.ClientSession, tmp_path, path: str, fields: dict[str, str]
):
    """A key for transcriptions cannot queue them."""
    keys = Keys(
        a_key("now", scopes=frozenset({TRANSCRIBE})),
        a_key("later", scopes=frozenset({TRANSCRIBE, JOBS})),
    )
    async with api_with_jobs(start, tmp_path / "jobs", keys=keys) as jobs:
        for name, expected in (("now", 403), ("later", 202)):
            url = jobs.api.root + path
            async with http.post(url, data=clip(**fields), headers=sent(name)) as answer:
                body = await answer.json()
                assert answer.status == expected, body
                if expected == 403:
                    assert body["error"]["code"] == "insufficient_scope"
                    assert "'jobs'" in body["error"]["message"]


async def test_an_expired_key_is_told_so(start: Start, http: aiohttp.ClientSession):
    """It is the owner of the key who asks."""

    keys = Keys(
        a_key("old", expires=datetime(2020, 1, 1, tzinfo=UTC)),
        a_key("new", expires=datetime(2999, 1, 1, tzinfo=UTC)),
    )
    async with start(Setup(keys=keys)) as api:
        async with http.get(f"{api.root}/v1/models", headers=sent("old")) as answer:
            assert answer.status == 401
            error = (await answer.json())["error"]
            assert (error["code"], "expired" in error["message"]) == ("invalid_api_key", True)
        async with http.get(f"{api.root}/v1/models", headers=sent("new")) as answer:
            assert answer.status == 200


async def test_a_client_secret_has_the_rights_that_its_key_has_now(
    start: Start, http: aiohttp.ClientSession
):
    """Not those of when it was made."""
    keys = Keys(a_key("app"))
    async with start(Setup(keys=keys)) as api:
        secrets: ClientSecrets = api.app[DEPS].client_secrets
        secret = secrets.make(seconds=60, owner=keys.keys[0], session=None)
        headers = {"Authorization": f"Bearer {secret.value}"}
        async with http.get(f"{api.root}/v1/realtime", headers=headers) as answer:
            assert answer.status == 400  # no upgrade
        keys.keys[0] = a_key("app", scopes=frozenset({TRANSCRIBE}))
        async with http.get(f"{api.root}/v1/realtime", headers=headers) as answer:
            assert answer.status == 403
        keys.keys.clear()
        async with http.get(f"{api.root}/v1/realtime", headers=headers) as answer:
            assert answer.status == 401
