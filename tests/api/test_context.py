"""Request ids, the headers of every answer, and the access log."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import aiohttp
import pytest
from yarl import URL

from support.api_app import HELD, Api, Setup, Start, sample_path

Logs = list[MutableMapping[str, Any]]


@pytest.mark.parametrize("sent", ["abc", "A.b_c-1", "x" * 128])
async def test_a_safe_id_is_kept(api: Api, http: aiohttp.ClientSession, sent: str):
    """So that a caller finds its request in our log."""
    async with http.get(f"{api.root}/health", headers={"X-Request-ID": sent}) as answer:
        assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a/b", "é", '"'])
async def test_an_unsafe_id_is_replaced(api: Api, http: aiohttp.ClientSession, sent: str):
    """It goes into logs and headers."""
    async with http.get(f"{api.root}/health", headers={"X-Request-ID": sent}) as answer:
        made = answer.headers["x-request-id"]
    assert made.startswith("req_")
    assert len(made) == 36


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/v1/models", 200),
        ("GET", "/x", 404),
        ("PUT", "/v1/models", 405),
        ("POST", "/v1/audio/transcriptions", 400),
    ],
)
async def test_every_answer_has_an_id_and_a_time(
    api: Api, http: aiohttp.ClientSession, method: str, path: str, status: int
):
    """Contract cases 11 and 12."""
    async with http.request(method, api.root + path) as answer:
        assert answer.status == status
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["openai-processing-ms"].isdigit()
        assert answer.headers["Server"] == "whisper-router"


async def test_one_line_per_request_without_the_query(
    api: Api, http: aiohttp.ClientSession, logs: Logs
):
    """A path with a line break in it stays on its line."""
    url = URL(f"{api.root}/v1/models/a%0Ab?token=secret", encoded=True)
    async with http.get(url, headers={"X-Request-ID": "mine"}):
        pass
    (line,) = [entry for entry in logs if entry["event"] == "request_done"]
    assert line["took_s"] >= 0
    assert (line["method"], line["status"], line["request_id"]) == ("GET", 404, "mine")
    assert line["path"] == "/v1/models/a%0Ab"
    assert line["log_level"] == "info"
    assert "secret" not in repr(logs)


async def test_probes_and_who_only_watches_are_logged_for_debugging_only(
    start: Start, http: aiohttp.ClientSession, logs: Logs
):
    """They come every few seconds."""
    async with start(Setup(open_metrics=True)) as api:
        for path in ("/health", "/metrics", "/v1/queue", "/v1/activity"):
            async with http.get(api.root + path) as answer:
                assert answer.status == 200
    levels = [entry["log_level"] for entry in logs if entry["event"] == "request_done"]
    assert levels == ["debug"] * 4


async def test_a_client_that_leaves_is_logged_as_499(
    start: Start, http: aiohttp.ClientSession, logs: Logs
):
    """Its work was given up, which is no error."""
    form = aiohttp.FormData({"model": HELD})
    form.add_field("file", sample_path("en_hello_gb.wav").read_bytes(), filename="a.wav")
    async with asyncio.timeout(15), start(Setup()) as api, asyncio.TaskGroup() as group:
        url = f"{api.base_url}/audio/transcriptions"
        call = group.create_task(http.post(url, data=form).__aenter__())
        await api.recogniser.reached.wait()
        call.cancel()
        await api.recogniser.closed.wait()
    lines = [line for line in logs if line["event"] == "request_done"]
    assert [(line["status"], line["client"]) for line in lines] == [(499, "127.0.0.1")]
