"""Limits of keys over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from support.api_app import (
    GOOD,
    HELD,
    LATE_CRASH,
    SECOND,
    Api,
    Names,
    Setup,
    Start,
    sample,
    sample_path,
)
from support.live_client import connected, told
from support.quiet_live import Listener
from support.realtime_client import realtime
from support.rings import Keys, a_key, sent
from whisper_router.api.key_source import FixedKeys, KeySource
from whisper_router.api.keys import Key, Scope
from whisper_router.api.limits.account import Clocks
from whisper_router.api.limits.keeper import UsageKeeper, open_usage
from whisper_router.api.metering import MeteredTranscriber
from whisper_router.domain import (
    AudioReady,
    Client,
    Lane,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.errors import (
    EngineCrashed,
    IncorrectApiKey,
    InsufficientScope,
    LimitReached,
    ModelNotAllowed,
)
from whisper_router.pipeline.progress import Tracker

CLIP, SECONDS = "en_three_segments.wav", sample("en_three_segments.wav")["seconds"]
URL = "/v1/audio/transcriptions"
Answer = tuple[int, dict[str, str], dict]


async def transcribe(
    http: aiohttp.ClientSession, api: Api, name: str, model: str = GOOD, **fields: str
) -> Answer:
    form = aiohttp.FormData({"model": model, **fields})
    form.add_field("file", sample_path(CLIP).read_bytes(), filename="a.wav")
    async with http.post(api.root + URL, data=form, headers=sent(name)) as answer:
        is_json = answer.content_type == "application/json"
        body = await answer.json() if is_json else {"text": await answer.text()}
        return answer.status, dict(answer.headers), body


@asynccontextmanager
async def limited(start: Start, **limits: object) -> AsyncIterator[tuple[Api, UsageKeeper]]:
    """An API of which `laptop` has limits, and `other` has none."""
    noon_s = 1_795_305_600.0 + 43_200.0  # 2026-11-22: no day ends meanwhile
    usage = UsageKeeper(clocks=Clocks(monotonic=time.monotonic, unix=lambda: noon_s))
    keys = Keys(a_key("laptop", **limits), a_key("other"))
    async with start(Setup(keys=keys, usage=usage)) as api:
        yield api, usage


def statuses(answers: Sequence[Answer]) -> dict[int, int]:
    every = [status for status, _, _ in answers]
    return {status: every.count(status) for status in set(every)}


async def test_no_more_requests_than_the_minute_has(start: Start, http: aiohttp.ClientSession):
    """Fifty at once: exactly as many as may. Others are not in the way."""
    async with limited(start, requests_per_minute=7) as (api, usage):
        answers = await asyncio.gather(*(transcribe(http, api, "laptop") for _ in range(50)))
        assert statuses(answers) == {200: 7, 429: 43}
        _, headers, body = next(answer for answer in answers if answer[0] == 429)
        assert body["error"]["code"] == "rate_limit_exceeded"
        assert (body["error"]["type"], body["error"]["param"]) == ("requests", None)
        assert "7 requests in a minute" in body["error"]["message"]
        assert 1 <= int(headers["Retry-After"]) <= 60
        assert headers["x-ratelimit-limit-requests"] == "7"
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert headers["x-ratelimit-reset-requests"].endswith("s")
        assert (await transcribe(http, api, "other"))[0] == 200
        account = usage.account("laptop")
        assert (account.total.requests, account.total.errors, account.running) == (50, 43, 0)
        assert account.total.audio_s == pytest.approx(7 * SECONDS)


async def test_to_look_costs_nothing_and_tells_what_is_left(
    start: Start, http: aiohttp.ClientSession
):
    """Headers are on every answer of a limited key, and on none of others."""
    async with limited(start, requests_per_minute=2, audio_minutes_per_day=1) as (api, _):
        await transcribe(http, api, "laptop")
        for _ in range(5):
            async with http.get(f"{api.root}/v1/models", headers=sent("laptop")) as answer:
                assert answer.status == 200
                assert answer.headers["x-ratelimit-remaining-requests"] == "1"
                assert answer.headers["x-ratelimit-limit-audio-seconds"] == "60"
                left_s = int(answer.headers["x-ratelimit-remaining-audio-seconds"])
                assert left_s == int(60 - SECONDS)
        _, headers, _ = await transcribe(http, api, "other")
        assert not [name for name in headers if name.lower().startswith("x-ratelimit")]


async def test_as_many_at_a_time_as_may(start: Start, http: aiohttp.ClientSession):
    """The next one may begin as soon as one has ended."""
    async with limited(start, concurrent_requests=1) as (api, _):
        async with asyncio.TaskGroup() as group:
            held = group.create_task(transcribe(http, api, "laptop", HELD))
            await api.recogniser.reached.wait()
            status, headers, body = await transcribe(http, api, "laptop")
            assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
            assert "1 requests at a time" in body["error"]["message"]
            assert headers["Retry-After"] == "1"
            assert headers["x-ratelimit-remaining-concurrent-requests"] == "0"
            assert (await transcribe(http, api, "other"))[0] == 200
            api.recogniser.release.set()
        assert held.result()[0] == 200
        assert (await transcribe(http, api, "laptop"))[0] == 200


async def test_no_more_audio_than_the_day_has(start: Start, http: aiohttp.ClientSession):
    """Fifty clips of 6.92 s at once, and a budget of 60 s: eight of them."""
    async with limited(start, audio_minutes_per_day=1) as (api, usage):
        answers = await asyncio.gather(*(transcribe(http, api, "laptop") for _ in range(50)))
        assert statuses(answers) == {200: 8, 429: 42}
        account = usage.account("laptop")
        assert account.today().audio_s == pytest.approx(8 * SECONDS)
        assert account.held_s == {}
        _, headers, body = next(answer for answer in answers if answer[0] == 429)
        assert body["error"]["type"] == "audio_seconds"
        assert "audio_minutes_per_day" in body["error"]["message"]
        assert int(headers["Retry-After"]) <= 86_400
        # OpenAI's clients try again after half a second where a longer pause is asked for.
        assert (headers.get("x-should-retry") == "false") is (int(headers["Retry-After"]) > 60)


@pytest.mark.parametrize("fields", [{}, {"stream": "true"}])
async def test_a_refusal_comes_as_a_status_before_any_text(
    start: Start, http: aiohttp.ClientSession, fields: dict[str, str]
):
    """Streams, too."""
    async with limited(start, audio_minutes_per_day=0.1) as (api, _):
        status, _, body = await transcribe(http, api, "laptop", **fields)
        assert (status, body["error"]["code"]) == (429, "rate_limit_exceeded")
        assert "6.0 s of it are left" in body["error"]["message"]


async def test_what_fails_gives_back_what_was_not_recognised(
    start: Start, http: aiohttp.ClientSession
):
    """The engine crashes after two of the three segments."""
    async with limited(start, audio_minutes_per_day=1) as (api, usage):
        assert (await transcribe(http, api, "laptop", LATE_CRASH))[0] >= 500
        account = usage.account("laptop")
        assert account.held_s == {}
        assert 0 < account.today().audio_s < SECONDS * 0.7
        assert (account.today().requests, account.today().errors) == (1, 1)


class Scripted:
    """Recognises nothing: yields its events, then fails if it is to."""

    def __init__(self, *events: TranscriptEvent, error: Exception | None = None) -> None:
        self.events, self.error = events, error

    async def run(
        self, request, media, tracker=None, memory=None
    ) -> AsyncIterator[TranscriptEvent]:
        assert tracker is not None
        tracker.update(duration_s=10.0, decoded_s=10.0, speech_s=10.0, left_s=0.0, done_s=9.0)
        for event in self.events:
            yield event
        if self.error is not None:
            raise self.error


def recogniser(transcriber: Scripted, usage: UsageKeeper, keys: KeySource) -> MeteredTranscriber:
    return MeteredTranscriber(transcriber, usage, keys, Names())


class Memory:
    """Of the chunks of a job; it knows none."""

    def __init__(self, work: str) -> None:
        self.work = work


async def read(
    transcriber: MeteredTranscriber, lane: Lane = Lane.JOB, name: str = "laptop", work: str = ""
) -> list[TranscriptEvent]:
    request = TranscriptionRequest(model=GOOD, lane=lane, client=Client(name=name))
    events = transcriber.run(request, None, Tracker(name), Memory(work))
    return [event async for event in events]


async def test_jobs_are_charged_once_they_are_done():
    """One that is interrupted runs again, and one that has failed has no result."""
    usage, keys = UsageKeeper(), Keys(a_key("laptop", audio_minutes_per_day=0.4))
    ready = AudioReady(duration_s=10.5, speech_s=None)
    with pytest.raises(EngineCrashed):
        await read(recogniser(Scripted(error=EngineCrashed("x")), usage, keys))
    account = usage.account("laptop")
    assert (account.today().audio_s, account.held_s) == (0.0, {})
    good = recogniser(Scripted(ready), usage, keys)
    assert await read(good) == [ready]
    assert await read(good) == [ready]
    with pytest.raises(LimitReached):
        await read(good)
    assert account.today().audio_s == pytest.approx(21.0)


async def test_a_job_whose_end_was_not_kept_is_charged_once(tmp_path: Path):
    """The router was killed in between; nor is there a limit for what it has had already."""
    ready = AudioReady(duration_s=15.0, speech_s=None)
    keys = Keys(a_key("laptop", audio_minutes_per_day=0.4))
    for _ in range(3):
        async with open_usage(tmp_path / "usage.sqlite") as usage:
            jobs = recogniser(Scripted(ready), usage, keys)
            for _ in range(2):
                assert await read(jobs, work="one") == [ready]
            with pytest.raises(LimitReached):
                await read(jobs, work="two")
            account = usage.account("laptop")
            assert (account.today().audio_s, account.held_s) == (15.0, {})


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ([], "was revoked"),
        ([a_key("renamed")], "was revoked"),
        ([a_key("laptop", disabled=True)], "is disabled"),
        ([a_key("laptop", expires=datetime(2026, 1, 1, tzinfo=UTC))], "has expired"),
    ],
)
async def test_a_job_whose_key_is_no_longer_good_is_not_recognised(now: list[Key], reason: str):
    """Its limits went with the key, so it may have nothing."""
    usage, ready = UsageKeeper(), AudioReady(duration_s=10.5, speech_s=None)
    with pytest.raises(IncorrectApiKey, match=f"'laptop' {reason}"):
        await read(recogniser(Scripted(ready), usage, Keys(*now)))
    assert usage.account("laptop").total.audio_s == 0.0


@pytest.mark.parametrize(
    ("about", "error"),
    [
        ({"scopes": {Scope.TRANSCRIBE}}, InsufficientScope),
        ({"models": ("org/model:q5",)}, ModelNotAllowed),
        ({"models": (SECOND,)}, None),
        ({"scopes": {Scope.JOBS}}, None),
        ({"admin": True, "scopes": set()}, None),
    ],
)
async def test_a_job_whose_key_may_not_have_it_any_more_is_not_recognised(about, error):
    """What counts is what the key may do when its turn comes."""
    usage, ready = UsageKeeper(), AudioReady(duration_s=10.5, speech_s=None)
    jobs = recogniser(Scripted(ready), usage, Keys(a_key("laptop", **about)))
    with nullcontext() if error is None else pytest.raises(error, match="'laptop'"):
        assert await read(jobs) == [ready]
    assert usage.account("laptop").total.audio_s == (10.5 if error is None else 0.0)


async def test_a_job_of_before_any_key_was_needed_runs():
    """And so does that of a key where none is needed any more."""
    usage, ready = UsageKeeper(), AudioReady(duration_s=10.5, speech_s=None)
    nobodys = recogniser(Scripted(ready), usage, Keys(a_key("laptop")))
    assert await read(nobodys, name="") == [ready]
    assert await read(recogniser(Scripted(ready), usage, FixedKeys([]))) == [ready]


async def test_a_file_that_is_longer_than_it_says_is_held_to_what_it_lasts():
    """Its text is not given out."""
    usage, keys = UsageKeeper(), Keys(a_key("laptop", audio_minutes_per_day=0.2))
    long = recogniser(Scripted(AudioReady(duration_s=13.0, speech_s=None)), usage, keys)
    with pytest.raises(LimitReached):
        await read(long, Lane.INTERACTIVE)
    assert usage.account("laptop").today().audio_s <= 12.0
    assert usage.account("laptop").held_s == {}


async def test_a_live_session_ends_with_its_budget(start: Start, http: aiohttp.ClientSession, logs):
    """What was heard until then is told; the close code says try later, and the reason why."""
    listener, usage = Listener(), UsageKeeper()
    keys = Keys(a_key("laptop", audio_minutes_per_day=0.05))
    setup = Setup(live=listener, keys=keys, usage=usage)
    async with start(setup) as api, asyncio.timeout(20):
        async with connected(http, api.root, headers=sent("laptop"), model=GOOD) as client:
            await client.send_bytes(bytes(2 * 16_000 * 10))
            assert len(await told(client)) == 1
            assert client.close_code == 1013
        assert listener.samples == 3 * 16_000
        assert usage.account("laptop").today().audio_s == pytest.approx(3.0)
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(f"{api.root}{URL}?model={GOOD}", headers=sent("laptop"))
        assert caught.value.status == 429
        assert usage.account("laptop").running == 0
        async with http.get(f"{api.root}/v1/activity", headers=sent("laptop")) as answer:
            [*_, first] = (await answer.json())["history"]
        assert (first["status"], first["code"]) == (429, "rate_limit_exceeded")
    lines = [line for line in logs if line["event"] == "request_done"]
    assert [line.get("code") for line in lines[:2]] == ["rate_limit_exceeded"] * 2


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ([], "was revoked"),
        ([a_key("laptop", disabled=True)], "is disabled"),
        ([a_key("laptop", expires=datetime(2026, 1, 1, tzinfo=UTC))], "has expired"),
        ([replace(a_key("laptop"), hash=a_key("another").hash)], "was revoked"),
    ],
)
async def test_a_live_session_ends_with_its_key(
    start: Start, http: aiohttp.ClientSession, now: list[Key], reason: str
):
    """Over both protocols; what it sends from then on is neither heard nor charged."""
    listener, usage, keys = Listener(), UsageKeeper(), Keys(a_key("laptop"))
    setup = Setup(live=listener, keys=keys, usage=usage)
    async with (
        start(setup) as api,
        asyncio.timeout(20),
        connected(http, api.root, headers=sent("laptop"), model=GOOD) as client,
        realtime(http, api.root, headers=sent("laptop"), model=GOOD) as other,
    ):
        keys.keys[:] = now
        await client.send_bytes(bytes(2 * 16_000))
        await told(client)
        assert client.close_code == 1008
        await other.append(bytes(4800))
        error = await other.error()
        assert (error["code"], reason in error["message"]) == ("invalid_api_key", True)
        message = await other.socket.receive()
        assert (message.data, message.extra) == (1008, "invalid_request_error.invalid_api_key")
    assert listener.samples < 160  # what a resampler held back
    assert usage.account("laptop").total.audio_s == 0.0


async def test_a_live_session_is_held_to_the_limits_that_its_key_has_now(
    start: Start, http: aiohttp.ClientSession
):
    """Also if it began without any."""
    listener, keys = Listener(), Keys(a_key("laptop"))
    async with (
        start(Setup(live=listener, keys=keys)) as api,
        asyncio.timeout(20),
        connected(http, api.root, headers=sent("laptop"), model=GOOD) as client,
    ):
        keys.keys[:] = [a_key("laptop", audio_minutes_per_day=0.05)]
        await client.send_bytes(bytes(2 * 16_000 * 10))
        await told(client)
        assert client.close_code == 1013
    assert listener.samples == 3 * 16_000


async def test_live_sessions_are_requests_that_run(start: Start, http: aiohttp.ClientSession):
    """As long as they last."""
    usage = UsageKeeper()
    setup = Setup(live=Listener(), keys=Keys(a_key("laptop", concurrent_requests=1)), usage=usage)
    async with start(setup) as api, asyncio.timeout(20):
        async with connected(http, api.root, headers=sent("laptop"), model=GOOD) as client:
            assert usage.account("laptop").running == 1
            assert (await transcribe(http, api, "laptop"))[0] == 429
            await client.send_bytes(b"")
            await told(client)
        assert (await transcribe(http, api, "laptop"))[0] == 200


@pytest.mark.parametrize("name", ["client_secrets", "transcription_sessions"])
async def test_client_secrets_are_requests(start: Start, http: aiohttp.ClientSession, name: str):
    """Nobody makes any number of them."""
    async with limited(start, requests_per_minute=1) as (api, usage):
        url = f"{api.root}/v1/realtime/{name}"
        for status in (200, 429):
            async with http.post(url, headers=sent("laptop")) as answer:
                assert answer.status == status
        assert usage.account("laptop").total.requests == 2


async def test_where_nobody_needs_a_key_all_is_counted_together(
    api: Api, http: aiohttp.ClientSession
):
    """And nobody is limited."""
    await transcribe(http, api, "whoever")
    async with http.get(f"{api.root}/v1/usage") as answer:
        body = await answer.json()
    assert body["key"] is None
    assert body["today"]["requests"] == 1
    assert body["total"]["audio_seconds"] == pytest.approx(SECONDS)
