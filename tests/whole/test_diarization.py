"""Two people on two channels, told apart by the whole server."""

import asyncio
import io
import json
import wave

import aiohttp
import numpy as np
import openai
import pytest

from support.audio_files import wav
from support.client import session

STEREO, MONO = "stereo_two_speakers_44k.wav", "en_three_segments.wav"


@pytest.fixture
async def http():
    async with session() as http, asyncio.timeout(60):
        yield http


@pytest.fixture
def post(server, samples, http):
    """Send a sample with fields; return the answer's status and body."""

    async def send(
        *fields: tuple[str, str], name=STEREO, path="/v1/audio/transcriptions", content=b""
    ):
        form = aiohttp.FormData([("model", "demo"), *fields])
        content = content or samples[name]["path"].read_bytes()
        form.add_field("file", io.BytesIO(content), filename=name)
        async with http.post(server.url + path, data=form) as answer:
            return answer.status, await answer.text()

    return send


@pytest.fixture(scope="session")
def openai_client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_the_official_client_reads_who_says_what(openai_client, samples):
    """`diarized_json`, parsed by the client's own type."""
    answer = openai_client.audio.transcriptions.create(
        file=samples[STEREO]["path"],
        model="gpt-4o-transcribe-diarize",
        response_format="diarized_json",
        chunking_strategy="auto",
    )
    speakers = [segment.speaker for segment in answer.segments]
    assert speakers[0] == "A"
    assert set(speakers) == {"A", "B"}
    assert " ".join(segment.text for segment in answer.segments) == samples[STEREO]["text"]
    assert answer.duration == pytest.approx(samples[STEREO]["seconds"], abs=0.1)
    starts = [segment.start for segment in answer.segments]
    assert starts == sorted(starts)
    assert answer.text.startswith("A: ")


def test_its_stream_has_an_event_for_each_segment(openai_client, samples):
    stream = openai_client.audio.transcriptions.create(
        file=samples[STEREO]["path"],
        model="demo",
        response_format="diarized_json",
        chunking_strategy="auto",
        stream=True,
    )
    events = list(stream)
    told = [event for event in events if event.type == "transcript.text.segment"]
    assert {event.speaker for event in told} == {"A", "B"}
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(deltas) == events[-1].text == samples[STEREO]["text"]


async def test_known_speakers_are_named_in_the_order_of_the_channels(post):
    """In every format that can say who speaks."""

    async def told(wanted: str) -> str:
        names = [("known_speaker_names[]", name) for name in ("agent", "caller")]
        status, text = await post(("diarize", "true"), ("response_format", wanted), *names)
        assert status == 200
        return text

    for wanted in ("diarized_json", "verbose_json"):
        segments = json.loads(await told(wanted))["segments"]
        assert {segment["speaker"] for segment in segments} == {"agent", "caller"}
    assert "<v agent>" in await told("vtt")
    assert "[caller]: " in await told("srt")
    assert {line.split()[7] for line in (await told("rttm")).splitlines()} == {"agent", "caller"}


async def test_one_channel_is_refused_with_the_reason(post):
    """Nobody is made up."""
    status, text = await post(("diarize", "true"), name=MONO)
    error = json.loads(text)["error"]
    assert (status, error["param"]) == (400, "diarization")
    assert "one channel" in error["message"]


async def test_a_job_remembers_who_spoke(server, post, http):
    """Its result is written again in any format; one made without speakers has none to tell."""

    async def result(wanted: str, *fields: tuple[str, str]) -> tuple[int, dict]:
        _, made = await post(*fields, path="/v1/jobs")
        url = f"{server.url}/v1/jobs/{json.loads(made)['id']}"
        async with http.get(f"{url}/events") as events:
            lines = (await events.text()).splitlines()
        last = [line for line in lines if line.startswith("data: ")][-1]
        assert json.loads(last[6:])["status"] == "completed"
        async with http.get(f"{url}/result", params={"response_format": wanted}) as answer:
            return answer.status, await answer.json()

    _, body = await result("diarized_json", ("diarize", "true"))
    assert {segment["speaker"] for segment in body["segments"]} == {"A", "B"}
    status, refused = await result("rttm")
    assert (status, refused["error"]["param"]) == (400, "response_format")


async def test_who_speaks_when_without_what(post):
    """speaches' route: turns, also as RTTM."""
    path = "/v1/audio/diarization"
    status, text = await post(("known_speaker_names[]", "agent"), path=path)
    body = json.loads(text)
    assert status == 200
    assert body["duration"] == pytest.approx(6.67, abs=0.05)
    assert {segment["speaker"] for segment in body["segments"]} == {"agent", "A"}
    assert all(0 <= item["start"] < item["end"] <= body["duration"] for item in body["segments"])
    _, rttm = await post(("response_format", "rttm"), path=path)
    assert {line.split()[7] for line in rttm.splitlines()} == {"A", "B"}
    status, refused = await post(name=MONO, path=path)
    assert (status, "one channel" in json.loads(refused)["detail"]) == (400, True)


async def test_noise_on_a_line_is_nobody(post, samples):
    """It is louder than the quiet speaker on the other channel, who is heard all the same."""
    with wave.open(str(samples[STEREO]["path"])) as sample:
        rate_hz = sample.getframerate()
        pcm = np.frombuffer(sample.readframes(sample.getnframes()), dtype="<i2").reshape(-1, 2)
    left, right = (pcm / 32768).T
    noise = np.random.default_rng(0).normal(size=len(pcm)) * np.sqrt(np.square(right).mean())
    noisy = wav(np.stack([left + 0.35 * noise, 0.25 * right], axis=-1), rate_hz)
    _, clean_rttm = await post(("response_format", "rttm"), path="/v1/audio/diarization")
    _, noisy_rttm = await post(
        ("response_format", "rttm"), path="/v1/audio/diarization", content=noisy
    )
    clean, told = (
        [line.split() for line in text.splitlines()] for text in (clean_rttm, noisy_rttm)
    )
    assert [line[7] for line in told] == [line[7] for line in clean] == ["A", "B", "A", "B"]
    for column in (3, 4):
        found = [float(line[column]) for line in told]
        assert found == pytest.approx([float(line[column]) for line in clean], abs=0.2)
