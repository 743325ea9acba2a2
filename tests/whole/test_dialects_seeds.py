"""What the clients of three servers that we replace send, and what they read of the answers.

whisper-openai-server, insanely-fast-whisper-api, and whisperX API server: every endpoint of each.
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from support.client import ask, session, until_queue
from support.engine_processes import frozen, the_worker
from support.job_receiver import receiver
from support.server import running_server
from support.speech import sample

CONFIG = """
default_model = "demo"
[jobs]
directory = "{folder}/state"
[outbound]
allow_private = true
"""
HELLO, MINUTE = sample("en_hello_gb"), sample("en_two_speakers_long")
STEREO = sample("stereo_two_speakers_44k")
TOO_LONG = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dialects")
    with running_server(folder, config=CONFIG.format(folder=folder)) as running:
        yield running


@pytest.fixture(scope="module")
def rooted(tmp_path_factory):
    """A server whose OpenAI routes are those of whisperX API server."""
    folder = tmp_path_factory.mktemp("rooted")
    config = CONFIG.format(folder=folder) + "[dialects]\nwhisperx_root = true\n"
    with running_server(folder, config=config) as running:
        yield running


@pytest.fixture
async def http():
    async with session() as http, asyncio.timeout(100):
        yield http


@pytest.fixture
async def web(tmp_path):
    """Where the audio is that is fetched, and who is told."""
    async with receiver(HELLO.path.parent) as running:
        yield running


async def call(http, method: str, url: str, **options):
    """Return the status and the body, as JSON where it is that."""
    async with http.request(method, url, **options) as response:
        text = await response.text()
        is_json = response.content_type == "application/json"
        return response.status, json.loads(text) if is_json else text


def form(said=HELLO, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(fields)
    data.add_field("file", io.BytesIO(said.path.read_bytes()), filename=said.path.name)
    return data


@asynccontextmanager
async def at_rest(server, http) -> AsyncIterator[None]:
    """Have the only worker do nothing until the block ends, so that nothing ends meanwhile."""
    assert (await ask(http, server.url, HELLO.path))[0] == 200
    with frozen(await asyncio.to_thread(the_worker, server)):
        yield


# whisper-openai-server


@pytest.mark.parametrize("path", ["/", "/health", "/v1"])
async def test_a_its_three_health_routes_say_ok(server, http, path):
    status, body = await call(http, "GET", server.url + path)
    assert (status, body["status"]) == (200, "ok")


async def test_a_models_and_both_audio_routes(server, http):
    """`whisper-1` is always a model."""
    _, models = await call(http, "GET", f"{server.url}/v1/models")
    assert "whisper-1" in {model["id"] for model in models["data"]}
    url = f"{server.url}/v1/audio"
    status, body = await call(
        http, "POST", f"{url}/transcriptions", data=form(model="whisper-1", language="en")
    )
    assert (status, body["text"]) == (200, HELLO.text)
    status, text = await call(
        http,
        "POST",
        f"{url}/translations",
        data=form(sample("de_digits"), model="whisper-1", response_format="srt"),
    )
    assert status == 200
    assert text.startswith("1\n00:00:0")


# insanely-fast-whisper-api


async def test_c_a_task_is_answered_at_once(server, http, web):
    """And can be asked for afterwards."""
    body = {"url": f"{web.url}/{HELLO.path.name}", "batch_size": 64, "managed_task_id": "mine-1"}
    status, answer = await call(http, "POST", server.url, json=body)
    assert status == 200
    assert (answer["status"], answer["task_id"]) == ("completed", "mine-1")
    output = answer["output"]
    assert output["text"] == HELLO.text
    assert "".join(chunk["text"] for chunk in output["chunks"]).strip() == HELLO.text
    start_s, end_s = output["chunks"][0]["timestamp"]
    assert 0 <= start_s < end_s <= HELLO.seconds + 0.1
    status, kept = await call(http, "GET", f"{server.url}/status/mine-1")
    assert (status, kept) == (200, {"status": "completed", "output": output})


async def test_c_words_and_speakers(server, http, web):
    body = {
        "url": f"{web.url}/{STEREO.path.name}",
        "timestamp": "word",
        "diarise_audio": True,
        "language": "None",
        "task": "transcribe",
    }
    _, answer = await call(http, "POST", server.url, json=body)
    output = answer["output"]
    assert [chunk["text"] for chunk in output["chunks"]] == [
        f" {word}" for word in STEREO.text.split()
    ]
    assert {turn["speaker"] for turn in output["speakers"]} == {"A", "B"}


async def test_c_a_task_in_the_background_calls_its_webhook(server, http, web):
    body = {
        "url": f"{web.url}/{HELLO.path.name}",
        "is_async": True,
        "managed_task_id": "background-1",
        "webhook": {"url": f"{web.url}/hook", "header": {"x-mine": "yes"}},
    }
    status, answer = await call(http, "POST", server.url, json=body)
    assert status == 200
    assert (answer["status"], answer["task_id"]) == ("processing", "background-1")
    await web.until(1)
    told = web.calls["background-1"][0]["body"]
    assert (told["status"], told["output"]["text"]) == ("completed", HELLO.text)
    assert {name.lower(): value for name, value in web.headers[0].items()}["x-mine"] == "yes"
    _, kept = await call(http, "GET", f"{server.url}/status/background-1")
    assert kept == {"status": "completed", "output": told["output"]}


async def test_c_a_task_is_listed_and_cancelled(server, http, web):
    """Its worker is free at once; a failed task tells its webhook why."""
    hook = {"url": f"{web.url}/hook"}
    long = {"url": f"{web.url}/{MINUTE.path.name}", "is_async": True, "webhook": hook}
    async with at_rest(server, http):
        await call(http, "POST", server.url, json=long | {"managed_task_id": "long-1"})
        _, listed = await call(http, "GET", f"{server.url}/tasks")
        assert "long-1" in listed["tasks"]
        found = await call(http, "GET", f"{server.url}/status/long-1")
        assert found == (200, {"status": "processing"})
    url = f"{server.url}/cancel/long-1"
    assert await call(http, "DELETE", url) == (200, {"status": "cancelled"})
    await until_queue(http, server.url, running=0, waiting=0)
    assert (await call(http, "GET", f"{server.url}/tasks"))[1] == {"tasks": []}
    await web.until(1)
    missing = {"url": f"{web.url}/nothing.wav", "is_async": True, "webhook": hook}
    await call(http, "POST", server.url, json=missing | {"managed_task_id": "missing-1"})
    await web.until(2)
    assert web.calls["missing-1"][0]["body"]["status"] == "error"
    assert "404" in web.calls["missing-1"][0]["body"]["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/status/nobodys", None, 404),
        ("DELETE", "/cancel/nobodys", None, 404),
        ("POST", "/", {}, 400),
        ("POST", "/", {"url": "ftp://a.example/b"}, 400),
        ("POST", "/", {"url": "http://a.example/b", "timestamp": "page"}, 400),
        ("POST", "/", {"url": "http://a.example/b", "task": "sing"}, 400),
        ("POST", "/", {"url": "http://a.example/b", "is_async": True}, 400),
        ("POST", "/", {"url": "http://a.example/b", "managed_task_id": "../x"}, 400),
    ],
)
async def test_c_what_is_wrong_has_a_detail(server, http, method, path, body, status):
    """As FastAPI's clients expect."""
    found, answer = await call(http, method, server.url + path, json=body)
    assert found == status
    assert answer["detail"] == answer["error"]["message"]


# whisperX API server


@pytest.fixture(params=["prefix", "root"])
def whisperx(request, server):
    """Return the base URL, as a prefix of the usual server or as another server's own."""
    if request.param == "prefix":
        return f"{server.url}/whisperx"
    return request.getfixturevalue("rooted").url


@pytest.mark.parametrize("whisperx", ["prefix"], indirect=True)
async def test_d_every_format(whisperx, http):
    """Their shapes are its own: segments are nested where words are aligned."""
    url = f"{whisperx}/v1/audio/transcriptions"

    async def written(wanted: str, **fields: str):
        status, body = await call(http, "POST", url, data=form(response_format=wanted, **fields))
        assert status == 200
        return body

    assert await written("json") == {"text": HELLO.text}
    assert (await written("text")).strip() == HELLO.text
    assert (await written("vtt")).startswith("WEBVTT")
    assert HELLO.text in await written("srt")
    assert (await written("aud")).count("\t") == 2
    verbose = await written("verbose_json")
    assert (verbose["text"], verbose["language"]) == (HELLO.text, "en")
    words = verbose["segments"]["segments"][0]["words"]
    assert [word["word"] for word in words] == HELLO.text.split()
    assert verbose["segments"]["word_segments"] == words
    assert isinstance((await written("verbose_json", align="false"))["segments"], list)
    both = await written("vtt_json", highlight_words="true")
    assert "<u>" in both["vtt_text"]
    assert both["text"] == HELLO.text


@pytest.mark.parametrize("whisperx", ["root"], indirect=True)
async def test_d_speakers_and_its_other_fields(whisperx, http):
    fields = {
        "diarize": "true",
        "suppress_numerals": "true",
        "hotwords": "bravo",
        "batch_size": "4",
        "chunk_size": "30",
        "min_speakers": "1",
        "max_speakers": "2",
        "stream": "false",
        "timestamp_granularities[]": "word",
        "response_format": "verbose_json",
    }
    url = f"{whisperx}/v1/audio/transcriptions"
    _, body = await call(http, "POST", url, data=form(STEREO, **fields))
    segments = body["segments"]["segments"]
    assert {segment["speaker"] for segment in segments} == {"SPEAKER_00", "SPEAKER_01"}
    fields["response_format"] = "aud"
    _, labels = await call(http, "POST", url, data=form(STEREO, **fields))
    assert "\t[[SPEAKER_00]]" in labels


async def test_d_a_translation(whisperx, http):
    url = f"{whisperx}/v1/audio/translations"
    status, body = await call(http, "POST", url, data=form(sample("de_digits")))
    assert (status, body) == (200, {"text": sample("de_digits").translation})


@pytest.mark.parametrize("root", ["", "/whisperx"])
async def test_d_a_request_can_be_asked_for_afterwards(server, http, root):
    """By the id that the client gave it, in any format."""
    headers = {"X-Request-ID": f"asked-for{root.replace('/', '-')}"}
    url = f"{server.url}/whisperx/v1/audio/transcriptions"
    await call(http, "POST", url, data=form(), headers=headers)
    one = f"{server.url}{root}/v1/audio/transcriptions/{headers['X-Request-ID']}"
    _, state = await call(http, "GET", f"{one}/status")
    assert (state["status"], state["request_id"]) == ("completed", headers["X-Request-ID"])
    assert state["params"]["align"] is True
    assert state["filename"] == HELLO.path.name
    assert all(not stage["in_progress"] for stage in state["stages"])
    assert await call(http, "GET", f"{one}/result") == (200, {"text": HELLO.text})
    _, text = await call(http, "GET", f"{one}/result?response_format=vtt&highlight_words=true")
    assert "<u>hello</u>" in text
    async with http.get(f"{one}/events") as events:
        told = (await events.text()).strip()
    assert json.loads(told.removeprefix("data: "))["status"] == "completed"


async def test_d_a_request_in_the_background(server, http, web):
    """202 with where to look, and a call at the end."""
    url = f"{server.url}/whisperx/v1/audio/transcriptions"
    headers = {"X-Request-ID": "later-1"}
    fields = {
        "audio_url": f"{web.url}/{HELLO.path.name}",
        "async": "true",
        "callback_url": f"{web.url}/hook",
    }
    with aiohttp.MultipartWriter("form-data") as body:
        for name, value in fields.items():
            body.append(value).set_content_disposition("form-data", name=name)
    status, made = await call(http, "POST", url, data=body, headers=headers)
    assert status == 202
    assert (made["request_id"], made["status"]) == ("later-1", "accepted")
    await web.until(1)
    told = web.calls["later-1"][0]["body"]
    assert told == {"job_id": "later-1", "status": "ok", "result": {"text": HELLO.text}}
    _, state = await call(http, "GET", server.url + made["status_url"])
    assert state["status"] == "completed"
    assert (await call(http, "GET", server.url + made["result_url"]))[1] == told["result"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": "srt", "align": "false"}, "response_format"),
        ({"diarize": "true", "align": "false"}, "diarize"),
        ({"min_speakers": "3", "max_speakers": "2", "diarize": "true"}, "min_speakers"),
        ({"timestamp_granularities[]": "page"}, "timestamp_granularities[]"),
        ({"audio_url": "http://a.example/b"}, "audio_url"),
        ({"callback_url": "ftp://a.example"}, "callback_url"),
        ({"speaker_embeddings": "true"}, "speaker_embeddings"),
        ({"language": "klingon"}, "language"),
    ],
)
async def test_d_what_is_wrong_is_422(server, http, fields, param):
    url = f"{server.url}/whisperx/v1/audio/transcriptions"
    status, body = await call(http, "POST", url, data=form(**fields))
    assert (status, body["error"]["param"]) == (422, param)
    assert body["detail"] == body["error"]["message"]


async def test_d_ids_are_checked(server, http):
    url = f"{server.url}/v1/audio/transcriptions"
    assert (await call(http, "GET", f"{url}/{'x' * TOO_LONG}/status"))[0] == 400
    for what in ("status", "events", "result"):
        status, body = await call(http, "GET", f"{url}/nobodys/{what}")
        assert (status, body["detail"]) == (
            404,
            "Request not tracked (unknown, expired, or never received).",
        )


async def test_d_its_operators_see_and_load_models(whisperx, http):
    """Alignments and diarizations, too."""

    async def get(path: str):
        return await call(http, "GET", whisperx + path)

    async def post(path: str, **fields: str):
        return await call(http, "POST", whisperx + path, data=fields)

    assert await get("/healthcheck") == (200, {"status": "healthy"})
    assert await post("/models/load", model="demo") == (
        200,
        {"status": "success", "model": "demo"},
    )
    assert "demo" in (await get("/models/list"))[1]["models"]
    _, catalog = await get("/models/catalog")
    assert "demo" in catalog["models"]
    assert "demo" in catalog["loaded"]
    _, info = await get("/info?detail=full")
    assert info["backends"]["diarization"] == ["channels"]
    assert info["concurrent_transcriptions"]["max"] >= 1
    assert info["models"]["demo"] == "ready"
    assert await post("/models/unload", model="demo") == (200, {"status": "success"})
    assert (await post("/models/unload", model="demo"))[0] == 404
    assert (await post("/models/load", model="no-such"))[0] == 404
    assert (await get("/align_models/list"))[1]["models"] == ["dtw", "none"]
    assert (await post("/align_models/load", language="de"))[0] == 200
    assert (await post("/align_models/load", language="klingon"))[0] == 404
    assert (await post("/align_models/unload", language="de"))[0] == 404
    assert (await get("/diarize_models/list"))[1] == {"models": ["channels"]}
    assert (await post("/diarize_models/load", model="channels"))[0] == 200
    assert (await post("/diarize_models/load", model="pyannote"))[0] == 404
    assert (await post("/diarize_models/unload", model="channels"))[0] == 404


# Ids that clients choose


async def test_a_refused_request_takes_nothings_place(server, http, web):
    """What was kept under its id stays: the result, and a webhook that is owed."""
    url = f"{web.url}/{HELLO.path.name}"
    await call(http, "POST", server.url, json={"url": url, "managed_task_id": "kept-1"})
    wrong = {"url": url, "managed_task_id": "kept-1", "is_async": True}
    assert (await call(http, "POST", server.url, json=wrong))[0] == 400
    _, state = await call(http, "GET", f"{server.url}/status/kept-1")
    assert state["output"]["text"] == HELLO.text
    headers = {"X-Request-ID": "kept-2"}
    audio = f"{server.url}/whisperx/v1/audio/transcriptions"
    await call(http, "POST", audio, data=form(), headers=headers)
    empty = aiohttp.MultipartWriter("form-data")
    empty.append("en").set_content_disposition("form-data", name="language")
    assert (await call(http, "POST", audio, data=empty, headers=headers))[0] == 422
    _, state = await call(http, "GET", f"{audio}/kept-2/status")
    assert state["status"] == "completed"


async def test_a_webhook_that_is_owed_keeps_its_id(server, http, web):
    """Until it was called."""
    web.failures = 1
    body = {
        "url": f"{web.url}/{HELLO.path.name}",
        "is_async": True,
        "managed_task_id": "owed-1",
        "webhook": {"url": f"{web.url}/hook"},
    }
    await call(http, "POST", server.url, json=body)
    while (await call(http, "GET", f"{server.url}/status/owed-1"))[1]["status"] == "processing":
        pass
    status, answer = await call(http, "POST", server.url, json=body)
    assert status in {200, 409}  # 200: it has been called by now
    if status == 409:
        assert "webhook" in answer["detail"]
    await web.until(1)


async def test_of_two_requests_of_one_id_the_second_is_refused_at_once(server, http):
    """Not after all its work; the first one's answer is kept."""
    url = f"{server.url}/whisperx/v1/audio/transcriptions"
    headers = {"X-Request-ID": "twice-1"}
    async with asyncio.TaskGroup() as group, at_rest(server, http):
        first = group.create_task(call(http, "POST", url, data=form(MINUTE), headers=headers))
        while not (state := (await call(http, "GET", f"{url}/twice-1/status"))[1]).get("params"):
            pass
        assert (state["status"], state["filename"]) == ("in_progress", MINUTE.path.name)
        status, answer = await call(http, "POST", url, data=form(), headers=headers)
        assert (status, "twice-1" in answer["detail"]) == (409, True)
    assert first.result()[0] == 200


async def test_an_idempotency_key_makes_one_task(server, http, web):
    """Also where the server has chosen its id."""
    body = {
        "url": f"{web.url}/{HELLO.path.name}",
        "is_async": True,
        "webhook": {"url": f"{web.url}/hook"},
    }
    headers = {"Idempotency-Key": "once-1"}
    _, first = await call(http, "POST", server.url, json=body, headers=headers)
    await web.until(1)
    status, again = await call(http, "POST", server.url, json=body, headers=headers)
    assert (status, again["task_id"]) == (200, first["task_id"])
    assert len(web.calls[first["task_id"]]) == 1


async def test_ids_of_one_dialect_are_not_those_of_another(server, http, web):
    """A task and a request may be called the same."""
    body = {"url": f"{web.url}/{HELLO.path.name}", "managed_task_id": "shared-1"}
    await call(http, "POST", server.url, json=body)
    url = f"{server.url}/whisperx/v1/audio/transcriptions"
    await call(http, "POST", url, data=form(STEREO), headers={"X-Request-ID": "shared-1"})
    _, state = await call(http, "GET", f"{server.url}/status/shared-1")
    assert state["output"]["text"] == HELLO.text


async def test_an_error_is_replayed_with_its_status(server, http):
    url = f"{server.url}/whisperx/v1/audio/transcriptions"
    data = aiohttp.FormData()
    data.add_field("file", b"RIFF" + bytes(5000), filename="a.wav")
    status, refused = await call(http, "POST", url, data=data, headers={"X-Request-ID": "bad-1"})
    assert status == 422
    found, replayed = await call(http, "GET", f"{url}/bad-1/result")
    assert (found, replayed["detail"]) == (422, refused["detail"])
