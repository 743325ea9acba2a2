"""What the log says of a request."""

import asyncio
import json
from pathlib import Path

import aiohttp

from support.api_app import GOOD, Setup, Start, sample, sample_path
from support.rings import Keys, a_key, sent
from whisper_router.api.audit import AuditLog
from whisper_router.api.exchange import UNKNOWN_ROUTE

TEXT = sample("en_hello_gb.wav")["text"]


async def test_a_request_is_one_line_in_log_and_audit(
    start: Start, http: aiohttp.ClientSession, logs, tmp_path: Path
):
    """Who, from where, what, how much, with which result; no text, no name of a file, no query."""
    path = tmp_path / "audit.jsonl"
    audit = await asyncio.to_thread(AuditLog, path)
    content = sample_path("en_hello_gb.wav").read_bytes()
    async with start(Setup(keys=Keys(a_key("laptop")), audit=audit)) as api:
        for model in (GOOD, "nothing"):
            form = aiohttp.FormData({"model": model, "prompt": "private words"})
            form.add_field("file", content, filename="private-name.wav")
            url = f"{api.root}/v1/audio/transcriptions?private=query"
            async with http.post(url, data=form, headers=sent("laptop")) as answer:
                await answer.read()
        for name in ("/v1/nowhere", "/health"):
            async with http.get(api.root + name) as answer:
                await answer.read()
    await asyncio.to_thread(audit.close)
    first, second, third = [json.loads(line) for line in path.read_text().splitlines()]
    assert first.pop("bytes_in") > len(content)
    assert first.pop("request_id").startswith("req_")
    assert first.pop("took_s") >= 0
    assert "T" in first.pop("time")
    assert first == {
        "method": "POST",
        "status": 200,
        "key": "laptop",
        "client": "127.0.0.1",
        "route": "/v1/audio/transcriptions",
        "model": GOOD,
        "audio_s": 1.03,
    }
    assert (second["status"], second["code"]) == (404, "model_not_found")
    assert "model" not in second  # a name that nobody has made up here
    assert "audio_s" not in second
    assert (third["route"], third["status"], "key" in third) == (UNKNOWN_ROUTE, 404, False)
    done = [entry for entry in logs if entry["event"] == "request_done"]
    assert [entry.get("route") for entry in done][:3] == [
        first["route"],
        second["route"],
        UNKNOWN_ROUTE,
    ]
    for secret in ("private", TEXT, "secret-laptop"):
        assert secret not in path.read_text()
        assert secret not in repr(logs)
