"""Tasks and their outputs. Their whole life: tests/whole/test_dialects_seeds.py."""

import io
import json

import aiohttp
import pytest

from support.api_app import Api, Setup, Start, sample_path
from support.job_samples import make_job
from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.dialects.insanely_fast_whisper import (
    SINGLE,
    Timestamp,
    notice,
    output_of,
)
from whisper_router.domain import Segment, Task, Transcript, Word
from whisper_router.jobs.model import JobStatus

SEGMENTS = (
    Segment(
        start_s=0.12345,
        end_s=1.0,
        text=" Hi there.",
        words=(
            Word(text="Hi", start_s=0.1, end_s=0.4, probability=1.0),
            Word(text="there.", start_s=0.4, end_s=1.0, probability=1.0),
        ),
        speaker="A",
    ),
    Segment(start_s=1.0, end_s=2.0, text="  "),
)
TRANSCRIPT = Transcript(task=Task.TRANSCRIBE, language="en", duration_s=2.0, segments=SEGMENTS)


def test_chunks_are_segments_with_their_times():
    """Empty ones are left out; speakers are there where they were told apart."""
    assert output_of(TRANSCRIPT, Timestamp.CHUNK) == {
        "text": "Hi there.",
        "chunks": [{"timestamp": [0.123, 1.0], "text": " Hi there."}],
        "speakers": [{"speaker": "A", "timestamp": [0.123, 1.0], "text": " Hi there."}],
    }


def test_chunks_are_words_on_request():
    assert output_of(TRANSCRIPT, Timestamp.WORD)["chunks"] == [
        {"timestamp": [0.1, 0.4], "text": " Hi"},
        {"timestamp": [0.4, 1.0], "text": " there."},
    ]


@pytest.mark.parametrize(
    ("status", "error", "transcript", "told"),
    [
        (JobStatus.COMPLETED, None, TRANSCRIPT, {"status": "completed"}),
        (JobStatus.FAILED, {"message": "no"}, None, {"status": "error", "error": "no"}),
        (
            JobStatus.CANCELLED,
            None,
            None,
            {"status": "error", "error": "The task was cancelled."},
        ),
    ],
)
def test_a_webhook_has_the_clients_own_id(status, error, transcript, told):
    job = make_job("job_1", status=status, error=error, options={"task_id": "mine"})
    body = notice(job, transcript)
    assert body["task_id"] == "mine"
    assert body.items() >= told.items()
    assert ("output" in body) == (transcript is not None)


async def test_a_server_without_jobs_does_not_take_tasks_for_later(
    api: Api, http: aiohttp.ClientSession
):
    """503 for what needs them, and for webhooks, which would be lost."""
    body = {"url": "http://a.example/b.wav", "webhook": {"url": "http://a.example/hook"}}
    for extra in ({"is_async": True}, {}):
        async with http.post(api.root, json=body | extra) as answer:
            assert answer.status == 503
            assert (await answer.json())["error"]["code"] == "jobs_unavailable"
    async with http.get(f"{api.root}/tasks") as answer:
        assert (answer.status, await answer.json()) == (200, {"tasks": []})
    async with http.get(f"{api.root}/status/mine") as answer:
        assert answer.status == 404


@pytest.mark.parametrize("body", ["", "[]", "{", '{"url": ["http://a.example"]}'])
async def test_a_body_that_makes_no_sense_is_refused(
    api: Api, http: aiohttp.ClientSession, body: str
):
    headers = {"Content-Type": "application/json"}
    async with http.post(api.root, data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "detail" in json.loads(await answer.text())


def form() -> aiohttp.FormData:
    data = aiohttp.FormData()
    data.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    return data


async def test_open_webui_names_no_model_where_it_leaves_v1_out(
    start: Start, http: aiohttp.ClientSession
):
    """As it does with the fork that was made for it; elsewhere a model is asked for."""
    async with start(Setup()) as api:
        async with http.post(f"{api.root}/audio/transcriptions", data=form()) as answer:
            assert (answer.status, (await answer.json())["text"]) == (200, "hello world")
        for path in ("/v1/audio/transcriptions", "/audio/translations"):
            async with http.post(api.root + path, data=form()) as answer:
                assert (await answer.json())["error"]["param"] == "model"
    options = DialectOptions(enabled=frozenset({Dialect.SPEACHES}))
    async with (
        start(Setup(dialects=options)) as api,
        http.post(f"{api.root}/audio/transcriptions", data=form()) as answer,
    ):
        assert answer.status == 400


@pytest.mark.parametrize("name", sorted(SINGLE))
@pytest.mark.parametrize("value", [["x"], {"x": 1}])
async def test_what_is_one_value_is_no_list(
    api: Api, http: aiohttp.ClientSession, name: str, value: object
):
    """It would be left out in silence."""
    body = {"url": "http://a.example/b.wav", name: value}
    async with http.post(api.root, json=body) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["param"]) == (400, name)
    assert error["message"] == f"'{name}' must be a single value."


async def test_a_body_is_json_and_says_so(api: Api, http: aiohttp.ClientSession):
    """Other types are those that any web page may send."""
    body = json.dumps({"url": "http://a.example/b.wav"})
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": content_type}
        async with http.post(api.root, data=body, headers=headers) as answer:
            assert answer.status == 400
            assert "application/json" in (await answer.json())["detail"]


async def test_a_body_that_is_too_large_is_refused_in_detail(api: Api, http: aiohttp.ClientSession):
    data = io.BytesIO(json.dumps({"url": "x" * (2 << 20)}).encode())
    headers = {"Content-Type": "application/json"}
    async with http.post(api.root, data=data, headers=headers) as answer:
        body = await answer.json()
    assert answer.status == 413
    assert body["detail"] == body["error"]["message"]
