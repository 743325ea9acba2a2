"""Long files on a real server: cut without losing words, heard while they are still decoded."""

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest

from support.audio_files import wav
from support.client import ask, session
from support.processes import begun
from support.server import ServerProcess, running_server
from support.speech import floats, sample

CONFIG = """
[models.whisper-1]
model = "demo"
workers = 2
[audio]
media_workers = 1
"""
EVERYTHING_IS_SPEECH = '{"type": "server_vad", "threshold": 0}'
WAIT_S = 90
ATTEMPTS = 5


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A router with two workers for one model, and one media worker."""
    with running_server(tmp_path_factory.mktemp("long"), config=CONFIG) as server:
        yield server


def speech_file(path: Path, *, silence_s: float = 0.0, times: int = 1) -> Path:
    """A minute of speech, after some silence, several times over."""
    speech = floats(sample("en_two_speakers_long").path)
    silence = np.full(int(silence_s * 16_000), 1e-3, np.float32)
    path.write_bytes(wav(np.concatenate([silence, np.tile(speech, times)]), 16_000))
    return path


def media_worker(server: ServerProcess) -> psutil.Process:
    """The only one."""
    [worker] = [
        process for process in server.descendants() if "media_worker" in " ".join(process.cmdline())
    ]
    return worker


async def progress_of(http: aiohttp.ClientSession, server: ServerProcess, name: str) -> dict:
    """What /v1/progress says of a request; nothing while it is unknown."""
    async with http.get(f"{server.url}/v1/progress/{name}") as response:
        return await response.json() if response.status == 200 else {}


async def is_being_decoded(http: aiohttp.ClientSession, server: ServerProcess, name: str) -> bool:
    """Wait until the beginning of a request's file was decoded; False: all of it was by then."""
    while True:
        progress = await progress_of(http, server, name)
        if (decoded_s := progress.get("decoded_seconds", 0)) > 0:
            return decoded_s < progress["duration_seconds"]
        await asyncio.sleep(0.005)


async def events_of(
    http: aiohttp.ClientSession, server: ServerProcess, path: Path, name: str
) -> AsyncIterator[dict]:
    """The events of a streamed transcription."""
    form = aiohttp.FormData({"model": "whisper-1", "language": "en", "stream": "true"})
    form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
    url = f"{server.url}/v1/audio/transcriptions"
    async with http.post(url, data=form, headers={"X-Progress-ID": name}) as response:
        assert response.status == 200, await response.text()
        async for line in response.content:
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize("silence_s", [0.0, 2.1, 2.25])
async def test_speech_without_a_pause_is_cut_and_joined_without_losing_a_word(
    server, tmp_path, silence_s
):
    """At the lowest threshold all is speech, so each 30 s end in the middle of something."""
    path = speech_file(tmp_path / "minute.wav", silence_s=silence_s)
    fields = {"language": "en", "chunking_strategy": EVERYTHING_IS_SPEECH}
    async with asyncio.timeout(WAIT_S), session() as http:
        status, plain = await ask(http, server.url, path, **fields)
        assert (status, plain["text"]) == (200, sample("en_two_speakers_long").text)
        fields |= {"response_format": "verbose_json", "timestamp_granularities[]": "word"}
        _, verbose = await ask(http, server.url, path, **fields)
    assert verbose["text"] == plain["text"]
    words = verbose["words"]
    assert " ".join(word["word"] for word in words) == plain["text"]
    edges = [edge for word in words for edge in (word["start"], word["end"])]
    assert edges == sorted(edges)


async def test_text_comes_while_the_file_is_still_decoded(server, tmp_path):
    """The media worker stands still after its first pieces, and the first text comes all the same.

    The client leaves then; the next one is served.
    """
    path = speech_file(tmp_path / "long.wav", times=20)
    async with asyncio.timeout(WAIT_S), session() as http:
        for attempt in range(ATTEMPTS):
            async with aclosing(events_of(http, server, path, f"early-{attempt}")) as events:
                first = begun(anext(events))
                if await is_being_decoded(http, server, f"early-{attempt}"):
                    worker = media_worker(server)
                    worker.suspend()
                    try:
                        delta = await first
                        progress = await progress_of(http, server, f"early-{attempt}")
                    finally:
                        worker.resume()
                    if progress["decoded_seconds"] < progress["duration_seconds"]:
                        break
                await first
        else:
            pytest.fail("the file was decoded before anybody could look")
        assert delta["type"] == "transcript.text.delta"
        assert progress["stage"] == "transcribing"
        assert progress["duration_seconds"] == pytest.approx(1216, abs=1)
        assert 0 < progress["percent"] < 100
        status, body = await ask(http, server.url, sample("en_hello_gb").path)
        assert (status, body["text"]) == (200, "hello world")


async def test_a_media_worker_killed_in_the_middle_changes_nothing(server, tmp_path):
    """The next one decodes the file again, under the chunks that run already."""
    path = speech_file(tmp_path / "long.wav", times=3)
    async with asyncio.timeout(WAIT_S), session() as http:
        _, undisturbed = await ask(http, server.url, path, language="en")
        for attempt in range(ATTEMPTS):
            asking = begun(collect(events_of(http, server, path, f"killed-{attempt}")))
            if await is_being_decoded(http, server, f"killed-{attempt}"):
                os.kill(media_worker(server).pid, signal.SIGKILL)
            events = await asking
            assert events[-1]["text"] == undisturbed["text"]
            assert "".join(event["delta"] for event in events[:-1]) == undisturbed["text"]
            if any(line.get("event") == "media_worker_died" for line in server.log):
                return
    pytest.fail("the file was decoded before anybody could look")


@pytest.mark.parametrize("stream", ["false", "true"])
async def test_a_file_that_turns_out_to_be_too_long_is_told_so(tmp_path, stream):
    """However much of it is transcribed by then, and whatever is just being read."""
    path = speech_file(tmp_path / "long.wav", times=2)
    config = 'default_model = "demo"\n[audio]\nmax_duration_s = 100\n'
    with running_server(tmp_path, config=config) as strict:
        async with asyncio.timeout(WAIT_S), session() as http:
            form = aiohttp.FormData({"model": "whisper-1", "stream": stream})
            form.add_field("file", io.BytesIO(path.read_bytes()), filename=path.name)
            url = f"{strict.url}/v1/audio/transcriptions"
            async with http.post(url, data=form) as response:
                answer = await response.text()
    last = json.loads(answer.strip().splitlines()[-1].removeprefix("data: "))
    assert "100 seconds (setting 'audio.max_duration_s')" in last["error"]["message"]


async def test_a_request_cannot_have_minutes_of_silence_taken_for_speech(server, tmp_path):
    """Whisper would not hear what comes after them."""
    parts = [floats(sample(name).path) for name in ("en_hello_gb", "en_call_sign")]
    silence = np.zeros(20 * 16_000, np.float32)
    path = tmp_path / "gap.wav"
    path.write_bytes(wav(np.concatenate([parts[0], silence, parts[1]]), 16_000))
    strategy = '{"type": "server_vad", "silence_duration_ms": 60000, "prefix_padding_ms": 60000}'
    async with asyncio.timeout(WAIT_S), session() as http:
        _, body = await ask(http, server.url, path, language="en", chunking_strategy=strategy)
    assert body["text"] == "hello world seven alpha blue nine"


async def test_a_chunk_never_ends_beyond_the_audio(server, tmp_path):
    """The last window of speech detection is padded; the engine refuses what is not there."""
    speech = floats(sample("en_two_speakers_long").path)[: int(29.99 * 16_000)]
    path = tmp_path / "almost.wav"
    path.write_bytes(wav(speech, 16_000))
    async with asyncio.timeout(WAIT_S), session() as http:
        fields = {"language": "en", "chunking_strategy": EVERYTHING_IS_SPEECH}
        status, body = await ask(http, server.url, path, **fields)
    assert status == 200, body


async def collect(events: AsyncIterator[dict]) -> list[dict]:
    """All of them."""
    return [event async for event in events]
