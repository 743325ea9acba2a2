"""What the machine and this program are, and `doctor`'s checks. For administrators."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from aiohttp import web

from whisper_router.api.auth import require_admin
from whisper_router.api.deps import DEPS
from whisper_router.api.services import Finding
from whisper_router.api.sse import EVENT_STREAM, HEADERS
from whisper_router.api.wire import encode_json, json_response

EXAMINING = web.AppKey("examining", asyncio.Lock)
"""Is held while checks run: they are one client's at a time."""
Json = dict[str, Any]


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/v1/system", show_system),
        web.post("/v1/system/doctor", examine),
    ]


async def show_system(request: web.Request) -> web.Response:
    """GET /v1/system."""
    await require_admin(request)
    return json_response({"object": "system", **await request.app[DEPS].system.describe()})


async def examine(request: web.Request) -> web.StreamResponse:
    """POST /v1/system/doctor: all findings, or one event for each as it is made."""
    await require_admin(request)
    async with (
        request.app[EXAMINING],
        aclosing(request.app[DEPS].system.examine()) as findings,
    ):
        if EVENT_STREAM in request.headers.get("Accept", ""):
            return await _stream(request, findings)
        data = [_body(finding) async for finding in findings]
    return json_response({"object": "list", "data": data})


async def _stream(
    request: web.Request, findings: AsyncGenerator[Finding, None]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=HEADERS)
    try:
        await response.prepare(request)
        async for finding in findings:
            await response.write(b"data: " + encode_json(_body(finding)) + b"\n\n")
        await response.write(b"data: " + encode_json({"type": "done"}) + b"\n\n")
    except ConnectionError:
        pass
    return response


def _body(finding: Finding) -> Json:
    return {
        "verdict": finding.verdict.value,
        "subject": finding.subject,
        "text": finding.text,
    }
