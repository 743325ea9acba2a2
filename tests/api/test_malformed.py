"""What never reaches the application, many of it."""

import asyncio
import json
from pathlib import Path

from support.api_app import Api, Setup, Start
from whisper_router.api.audit import AuditLog
from whisper_router.api.malformed import Malformed
from whisper_router.api.wrong_keys import LOGGED_EACH, PerAddress
from whisper_router.metrics import REGISTRY

TOO_LONG = b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: h\r\n\r\n"


def counted() -> float:
    labels = {"method": "other", "route": "unknown", "status": "414"}
    return REGISTRY.get_sample_value("whisper_router_http_requests_total", labels) or 0.0


async def send(api: Api) -> None:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(TOO_LONG)
    assert b" 414 " in (await reader.read()).split(b"\r\n")[0]
    writer.close()


async def test_it_is_counted_audited_and_logged_with_its_address(start: Start, logs, tmp_path):
    """Of many from one address the log has some; the audit all."""
    path, before = tmp_path / "audit.jsonl", counted()
    audit = await asyncio.to_thread(AuditLog, path)
    async with asyncio.timeout(20), start(Setup(audit=audit)) as api:
        for _ in range(LOGGED_EACH + 3):
            await send(api)
    await asyncio.to_thread(audit.close)
    assert counted() - before == LOGGED_EACH + 3
    lines = [line for line in logs if line["event"] == "request_malformed"]
    assert [line["client"] for line in lines] == ["127.0.0.1"] * LOGGED_EACH
    kept = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert len(kept) == LOGGED_EACH + 3
    assert (
        kept[0].items()
        >= {
            "request_id": lines[0]["request_id"],
            "client": "127.0.0.1",
            "route": "unknown",
            "status": 414,
            "code": "address_too_long",
        }.items()
    )


async def test_many_are_summed_up(logs):
    """After a while, as one number."""
    malformed = Malformed(None, shown=PerAddress("requests_malformed", window_s=0.05))
    for _ in range(LOGGED_EACH + 3):
        malformed.note("req_1", address="10.0.0.1", status=400, code=None, kind="BadHttpMessage")
    async with asyncio.timeout(15):
        while len(logs) <= LOGGED_EACH:  # noqa: ASYNC110 - a log sets no event
            await asyncio.sleep(0.01)
    assert logs[-1].items() >= {"event": "requests_malformed", "count": LOGGED_EACH + 3}.items()
