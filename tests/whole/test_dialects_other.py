"""The requests that clients of other servers send, against a real server with a real engine.

One line per endpoint of speaches, whisper-asr-webservice and whisper.cpp's own server.
"""

import asyncio
import io
import json
import wave
from typing import Any

import aiohttp
import pytest

from support.client import session
from support.hub import Hub
from support.server import running_server
from support.speech import sample
from whisper_router_engines.whispercpp.engine import DEMO_MODEL

HELLO, GERMAN, THREE, SILENCE = "en_hello_gb", "de_digits", "en_three_segments", "silence"
SPEECH = "automatic-speech-recognition"
REPO, FILE = "somebody/models", "ggml-remote.bin"


@pytest.fixture
async def http():
    """A session whose requests cannot hang for ever."""
    async with session() as http, asyncio.timeout(60):
        yield http


def form(part: str, name: str, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(fields)
    data.add_field(part, sample(name).path.read_bytes(), filename=f"{name}.wav")
    return data


async def call(
    http: aiohttp.ClientSession, method: str, url: str, **options: Any
) -> tuple[int, Any]:
    """Return status and body, the latter as JSON where it says that it is some."""
    async with http.request(method, url, **options) as answer:
        is_json = answer.content_type == "application/json"
        return answer.status, await (answer.json() if is_json else answer.text())


# whisper-asr-webservice


async def test_bazarr_asks_for_a_language_and_then_for_subtitles(server, http):
    """Raw samples in a part without an extension, as it sends them."""
    with wave.open(io.BytesIO(sample(GERMAN).path.read_bytes())) as file:
        raw = file.readframes(file.getnframes())

    def body() -> aiohttp.FormData:
        data = aiohttp.FormData()
        data.add_field("audio_file", raw, filename="audio_file")
        return data

    query = {"encode": "false", "video_name": "/films/a.mkv"}
    headers = {"X-Request-ID": "bazarr-1"}
    status, found = await call(
        http, "POST", f"{server.url}/detect-language", params=query, data=body(), headers=headers
    )
    assert (status, found["detected_language"], found["language_code"]) == (200, "german", "de")
    assert 0 < found["confidence"] <= 1
    _, progress = await call(http, "GET", f"{server.url}/v1/progress/bazarr-1")
    assert progress["stage"] == "done"
    query |= {"task": "transcribe", "language": "de", "output": "srt"}
    async with http.post(f"{server.url}/asr", params=query, data=body()) as answer:
        text = await answer.text()
        assert answer.headers["Asr-Engine"] == "whispercpp"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="audio_file.srt"'
    assert text.startswith("1\n00:00:0")
    assert "drei sieben null fünf" in text


async def test_files_of_the_asr_webservice(server, http):
    """As curl asks for them, with the parameters of its own page."""
    query = {
        "encode": "true", "task": "transcribe", "initial_prompt": "", "vad_filter": "true",
        "word_timestamps": "true",
    }  # fmt: skip
    found = {}
    for output in ("txt", "json"):
        status, found[output] = await call(
            http, "POST", f"{server.url}/asr", params=query | {"output": output},
            data=form("audio_file", HELLO),
        )  # fmt: skip
        assert status == 200
    assert found["txt"] == "hello world\n"
    result = json.loads(found["json"])
    assert (result["text"], result["language"]) == ("hello world", "en")
    assert [word["word"].strip() for word in result["segments"][0]["words"]] == ["hello", "world"]


async def test_silence_has_no_language(server, http):
    found = await call(
        http, "POST", f"{server.url}/detect-language", data=form("audio_file", SILENCE)
    )
    assert found[1] == {
        "detected_language": "unknown", "language_code": "und", "confidence": 0.0,
    }  # fmt: skip


# whisper.cpp's own server


async def test_inference(server, http):
    """The fields of its README's curl line, and all the defaults of its page."""
    fields = {
        "temperature": "0.0", "temperature_inc": "0.2", "best_of": "2", "beam_size": "-1",
        "offset_t": "0", "offset_n": "0", "duration": "0", "max_context": "-1", "max_len": "0",
        "audio_ctx": "0", "word_thold": "0.01", "entropy_thold": "2.40", "logprob_thold": "-1.00",
        "no_speech_thold": "0.6", "debug_mode": "false", "translate": "false",
        "tinydiarize": "false", "split_on_word": "false", "no_timestamps": "false",
        "token_timestamps": "true", "language": "auto", "detect_language": "false",
        "prompt": "", "carry_initial_prompt": "false", "suppress_nst": "false", "vad": "false",
        "no_language_probabilities": "false",
    }  # fmt: skip
    found = {}
    for written in ("json", "srt", "verbose_json"):
        status, found[written] = await call(
            http, "POST", f"{server.url}/inference",
            data=form("file", HELLO, response_format=written, **fields),
        )  # fmt: skip
        assert status == 200, found[written]
    assert found["json"]["text"].strip() == "hello world"
    assert found["srt"].startswith("1\n")
    verbose = found["verbose_json"]
    assert (verbose["language"], verbose["detected_language"]) == ("english", "english")
    assert 0 < verbose["detected_language_probability"] <= 1
    (segment,) = verbose["segments"]
    assert [word["word"].strip() for word in segment["words"]] == ["hello", "world"]
    assert all(0 <= word["start"] <= word["end"] <= 1.1 for word in segment["words"])


async def test_the_rest_of_whisper_cpps_routes(server, http):
    """Its language alone, its health, and the load that is none."""
    asked = form("file", GERMAN, response_format="verbose_json", detect_language="true")
    status, body = await call(http, "POST", f"{server.url}/inference", data=asked)
    assert (status, body["language"], body["segments"]) == (200, "german", [])
    status, body = await call(
        http, "POST", f"{server.url}/load", data=aiohttp.FormData({"model": "/m/ggml-base.bin"})
    )
    assert (status, body["error"]["code"]) == (400, "not_supported")
    assert (await call(http, "GET", f"{server.url}/health"))[1]["status"] == "ok"


# speaches


async def test_transcriptions_with_the_fields_of_speaches(server, http):
    """Its own fields, its formats, its stream; and translations."""
    url, fields = f"{server.url}/v1/audio", {
        "model": "demo", "language": "en", "prompt": "digits", "temperature": "0.0",
        "hotwords": "hello", "without_timestamps": "true", "vad_filter": "true",
    }  # fmt: skip
    status, body = await call(
        http, "POST", f"{url}/transcriptions", data=form("file", HELLO, **fields)
    )
    assert (status, body["text"]) == (200, "hello world")
    data = form("file", HELLO, response_format="verbose_json", **fields)
    data.add_field("timestamp_granularities[]", "segment")
    data.add_field("timestamp_granularities[]", "word")
    status, body = await call(http, "POST", f"{url}/transcriptions", data=data)
    assert [word["word"] for word in body["words"]] == ["hello", "world"]
    assert body["segments"][0]["text"].strip() == "hello world"
    data = form("file", THREE, stream="true", **fields)
    _, text = await call(http, "POST", f"{url}/transcriptions", data=data)
    events = [json.loads(line[6:]) for line in text.split("\n\n") if line]
    assert events[-1]["text"] == "red green blue open left close right stop"
    data = form("file", GERMAN, model="demo", response_format="json")
    status, body = await call(http, "POST", f"{url}/translations", data=data)
    assert (status, body["text"]) == (200, "three seven zero five")


async def test_models_of_speaches_are_listed_and_loaded(server, http):
    """Its registry holds what is not here, under the catalogue's names."""
    root = server.url
    status, body = await call(http, "GET", f"{root}/v1/models?task={SPEECH}")
    assert status == 200
    listed = {model["id"]: model for model in body["data"]}
    assert listed["demo"]["task"] == SPEECH
    assert "de" in listed["demo"]["language"]
    assert (await call(http, "GET", f"{root}/v1/models/demo"))[1]["id"] == "demo"
    assert (await call(http, "GET", f"{root}/v1/models/Systran%2Ffaster-whisper-tiny"))[0] == 200
    _, body = await call(http, "GET", f"{root}/v1/registry", params={"task": SPEECH})
    assert {"demo", "tiny", "large-v3-turbo"} <= {model["id"] for model in body["data"]}
    assert (await call(http, "GET", f"{root}/v1/audio/models"))[1]["models"] == []
    assert (await call(http, "GET", f"{root}/v1/audio/voices"))[1]["voices"] == []
    await call(http, "DELETE", f"{root}/api/ps/two-workers")
    assert (await call(http, "POST", f"{root}/api/ps/two-workers"))[0] == 201
    assert (await call(http, "POST", f"{root}/api/ps/two-workers"))[0] == 409
    assert "two-workers" in (await call(http, "GET", f"{root}/api/ps"))[1]["models"]
    assert (await call(http, "DELETE", f"{root}/api/ps/two-workers"))[0] == 200
    assert (await call(http, "DELETE", f"{root}/api/ps/two-workers"))[0] == 404


async def test_speech_is_found_in_time(server, http):
    """Three phrases; a longest length cuts them up."""
    url = f"{server.url}/v1/audio/speech/timestamps"
    status, spans = await call(http, "POST", url, data=form("file", THREE))
    assert status == 200
    assert [span["start"] for span in spans] == pytest.approx([300, 2760, 6150], abs=150)
    fields = {
        "model": "silero_vad_v5", "threshold": "0.75", "neg_threshold": "0.6",
        "min_speech_duration_ms": "0", "max_speech_duration_s": "0.5",
        "min_silence_duration_ms": "1000", "speech_pad_ms": "0",
    }  # fmt: skip
    _, cut = await call(http, "POST", url, data=form("file", THREE, **fields))
    assert len(cut) > len(spans)
    assert max(span["end"] - span["start"] for span in cut) <= 500


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("audio/speech", {"model": "tts-1", "voice": "alloy", "input": "Hello"}),
        ("audio/speech/embedding", {}),
        ("chat/completions", {"model": "gpt-4o", "messages": [], "modalities": ["audio"]}),
        ("realtime?model=demo", {}),
    ],
)
async def test_what_speaches_does_beyond_recognition_is_refused(server, http, path, body):
    status, found = await call(http, "POST", f"{server.url}/v1/{path}", json=body)
    assert (status, found["error"]["code"]) == (501, "not_supported")
    assert found["detail"] == found["error"]["message"]


async def test_live_sessions_of_speaches_are_those_of_the_api(server, http):
    """With its own query parameters."""
    query = "model=demo&intent=transcription&language=en&transcription_model=demo"
    async with http.ws_connect(f"{server.url}/v1/realtime?{query}") as socket:
        assert (await socket.receive_json())["type"] == "session.created"


async def test_a_model_is_fetched_used_and_deleted_and_streams_are_old(tmp_path, http):
    """The id holds slashes, as those of a hub do; each event of a stream is a whole answer."""
    async with Hub().running() as hub:
        hub.add(f"{REPO}/{FILE}", DEMO_MODEL.read_bytes())
        config = f"""
            default_model = "demo"
            [dialects]
            old_sse = true
            [models."{REPO}"]
            repo = "{REPO}"
            file = "{FILE}"
            """
        env = {"WHISPER_ROUTER__STORE__OFFLINE": "false", "HF_ENDPOINT": hub.url}
        with running_server(tmp_path, config=config, env=env) as server:
            url = f"{server.url}/v1/models/{REPO}"
            assert await call(http, "POST", url) == (200, f"Model '{REPO}' downloaded")
            assert await call(http, "POST", url) == (201, f"Model '{REPO}' already exists")
            fields = {"model": REPO, "stream": "true", "response_format": "text"}
            _, text = await call(
                http, "POST", f"{server.url}/v1/audio/transcriptions",
                data=form("file", THREE, **fields),
            )  # fmt: skip
            answers = [frame.removeprefix("data: ") for frame in text.split("\n\n") if frame]
            assert " ".join(answers) == "red green blue open left close right stop"
            assert len(answers) > 1
            assert (await call(http, "DELETE", url))[0] == 200
            assert (await call(http, "DELETE", url))[0] == 404
            assert (await call(http, "DELETE", f"{server.url}/v1/models/demo"))[0] == 403
