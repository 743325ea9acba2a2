"""The chunk is the unit of work: turns, progress, languages; on real speech and a real server."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.client import ask, session, until_queue
from support.engine_processes import frozen, the_worker
from support.server import running_server
from support.speech import joined
from whisper_router.api.keys import hash_key

pytestmark = pytest.mark.alone

DEMO = 'default_model = "demo"\n'
LIMIT_S = 100


@pytest.fixture(scope="module")
def long_wav(samples, tmp_path_factory) -> Path:
    """Five minutes in about ten chunks."""
    path = tmp_path_factory.mktemp("turns") / "long.wav"
    return joined(path, *[samples["en_two_speakers_long.wav"]["path"]] * 5)


async def reports(
    http: aiohttp.ClientSession, url: str, request_id: str, **headers: str
) -> AsyncIterator[dict[str, Any]]:
    """Yield what is told of a request as events, from its beginning to its end."""
    headers |= {"Accept": "text/event-stream"}
    is_known = False
    while not is_known:
        async with http.get(f"{url}/v1/progress/{request_id}", headers=headers) as response:
            is_known = response.status == 200
            async for line in response.content:
                if is_known and line.startswith(b"data: "):
                    yield json.loads(line[6:])


async def started(http: aiohttp.ClientSession, url: str, request_id: str, **headers: str) -> None:
    """Return once the first chunk of a request is done."""
    async with aclosing(reports(http, url, request_id, **headers)) as told:
        async for report in told:
            if report["percent"] > 0:
                return


def begin(work) -> asyncio.Task:
    return asyncio.get_running_loop().create_task(work)


async def send(http: aiohttp.ClientSession, url: str, path: Path, request_id: str, **headers: str):
    """Send a file under an id of our own."""
    form = aiohttp.FormData({"model": "whisper-1"})
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    headers = {"X-Progress-ID": request_id} | headers
    async with http.post(f"{url}/v1/audio/transcriptions", data=form, headers=headers) as response:
        assert response.headers["x-request-id"] == request_id
        return await response.json()


async def test_a_clip_is_answered_while_a_long_file_runs(tmp_path, samples, long_wav):
    """One worker; the clip waits for a chunk of the other, not for the file."""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http, asyncio.timeout(LIMIT_S):
            file = begin(send(http, server.url, long_wav, "long"))
            await started(http, server.url, "long")
            with frozen(the_worker(server)):  # so that the file waits for the clip to be there
                clip = begin(send(http, server.url, samples["en_hello_gb.wav"]["path"], "clip"))
                async for report in reports(http, server.url, "clip"):
                    if report["stage"] == "waiting":
                        break
            assert (await clip)["text"] == "hello world"
            assert not file.done()
            file.cancel()


async def test_progress_goes_from_nothing_to_all(tmp_path, long_wav):
    """As events: stages in order, percent never falls, the end is the end of the stream."""
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http, asyncio.timeout(LIMIT_S):
            file = begin(send(http, server.url, long_wav, "long"))
            seen = [report async for report in reports(http, server.url, "long")]
            percents = [report["percent"] for report in seen]
            assert percents == sorted(percents)
            assert len(set(percents)) > 5
            assert (seen[-1]["stage"], seen[-1]["percent"]) == ("done", 100.0)
            assert seen[-1]["speech_seconds"] < seen[-1]["duration_seconds"]
            assert (await file)["text"].startswith("hello world")


async def test_who_has_a_worker_is_transcribing_and_who_has_none_waits(tmp_path, samples):
    """Before anything was heard; who waits is told its place and, as what runs takes time, when."""
    clip, minute = (
        samples[name]["path"] for name in ("en_hello_gb.wav", "en_two_speakers_long.wav")
    )
    with running_server(tmp_path, config=DEMO) as server:
        async with session() as http, asyncio.timeout(LIMIT_S):
            await ask(http, server.url, clip)
            with frozen(the_worker(server)):
                first = begin(send(http, server.url, minute, "first"))
                await until_queue(http, server.url, running=1, waiting=0)
                second = begin(send(http, server.url, clip, "second"))
                queue = await until_queue(http, server.url, running=1, waiting=1)
                stages = {}
                for name in ("first", "second"):
                    async with http.get(f"{server.url}/v1/progress/{name}") as response:
                        stages[name] = await response.json()
            assert [(await call)["text"] != "" for call in (first, second)] == [True, True]
    assert (stages["first"]["stage"], stages["second"]["stage"]) == ("transcribing", "waiting")
    assert "queue_position" not in stages["first"]
    assert stages["second"]["queue_position"] == 0
    assert 0 < queue["waiting"][0]["estimate_seconds"] < 600  # of a machine that may be busy


async def test_only_administrators_see_the_queue_and_only_owners_their_progress(
    tmp_path, samples, long_wav
):
    """An ordinary key is refused; an administrator's sees whose chunks wait."""
    (tmp_path / "keys.toml").write_text(
        f'[keys.guest]\nhash = "{hash_key("g")}"\n'
        f'[keys.boss]\nhash = "{hash_key("b")}"\nadmin = true\n'
    )
    config = DEMO + f'[auth]\nkeys_file = "{tmp_path}/keys.toml"\n'
    guest, boss = {"Authorization": "Bearer g"}, {"Authorization": "Bearer b"}
    with running_server(tmp_path, config=config) as server:
        async with session() as http, asyncio.timeout(LIMIT_S):
            file = begin(send(http, server.url, long_wav, "mine", **guest))
            await started(http, server.url, "mine", **guest)
            async with http.get(f"{server.url}/v1/queue", headers=guest) as response:
                assert response.status == 403
            async with http.get(f"{server.url}/v1/progress/mine", headers=boss) as response:
                assert response.status == 404
            keys, clip = set(), samples["en_hello_gb.wav"]["path"]
            with frozen(the_worker(server)):  # so that somebody waits when the boss looks
                others = [begin(send(http, server.url, clip, f"o{n}", **guest)) for n in range(3)]
                while not keys:
                    async with http.get(f"{server.url}/v1/queue", headers=boss) as response:
                        queue = (await response.json())["demo"]
                    keys = {place["key"] for place in queue["waiting"]}
                    assert queue["running"] <= 1
            assert keys == {"guest"}
            assert [(await other)["text"] for other in others] == ["hello world"] * 3
            file.cancel()


async def test_languages_are_those_of_the_first_chunk_or_of_each(server, samples, tmp_path):
    """`language=mixed` tells each segment's language; without it one language holds for all."""
    german, english = samples["de_digits.wav"], samples["en_call_sign.wav"]
    path = joined(tmp_path / "two.wav", german["path"], english["path"])
    async with session() as http:
        _, mixed = await ask(
            http, server.url, path, language="mixed", response_format="verbose_json"
        )
        assert mixed["text"] == f"{german['text']} {english['text']}"
        assert [segment["language"] for segment in mixed["segments"]] == ["de", "en"]
        _, plain = await ask(http, server.url, path, response_format="verbose_json")
        assert plain["language"] == "german"
        assert "language" not in plain["segments"][0]


async def test_the_same_file_gives_the_same_bytes_every_time(server, samples):
    """One worker, no context."""
    path = samples["en_two_speakers_long.wav"]["path"]
    bodies = set()
    async with session() as http:
        for _ in range(3):
            form = aiohttp.FormData(
                {"model": "whisper-1", "context": "false", "response_format": "verbose_json"}
            )
            form.add_field("file", io.BytesIO(path.read_bytes()), filename="a.wav")
            async with http.post(f"{server.url}/v1/audio/transcriptions", data=form) as response:
                bodies.add(await response.read())
    assert len(bodies) == 1
