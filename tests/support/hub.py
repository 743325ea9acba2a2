"""A model hub with its CDN, on loopback, with faults on order.

It answers like the real one as far as a download can tell: `HEAD` and `GET` of `resolve` addresses
redirect to a second origin that serves the bytes by checksum, with ranges. Other addresses under
`/files/` are plain files with an ETag.
"""

import asyncio
import hashlib
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from support.own_time import pass_s

COMMIT = "5" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one download.

    `status` answers with it instead of bytes. After `after_bytes` of the body: `cut` drops the
    connection, `stall` sends nothing more until the hub closes, `hold` waits for the event.
    `corrupt` changes a byte. `whole` ignores the range. `lag_s` passes before each
    piece: see `support.own_time`.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    after_bytes: int = 0
    cut: bool = False
    stall: bool = False
    hold: asyncio.Event | None = None
    corrupt: bool = False
    whole: bool = False
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One download that was asked for: where it began and whether it carried a token."""

    name: str
    start: int
    authorized: bool


class Hub:
    """The two servers. `faults[name]` are used up, one for each download of the file `name`."""

    def __init__(self) -> None:
        self.url = ""
        self.cdn_url = ""
        self.files: dict[str, bytes] = {}
        self.refusals: dict[str, tuple[int, dict[str, str]]] = {}
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.served: list[Served] = []
        self.tokens: list[str] = []
        self.revisions: list[str] = []
        self.answers_head = True
        self._closing = asyncio.Event()

    def add(self, name: str, content: bytes) -> str:
        """Publish `content` as `name` (`owner/repo/file`, or any name for `/files/`)."""
        self.files[name] = content
        return hashlib.sha256(content).hexdigest()

    def refuse(self, name: str, status: int, **headers: str) -> None:
        """Answer questions about `name` with `status`; underscores in header names are dashes."""
        self.refusals[name] = (
            status,
            {key.replace("_", "-"): value for key, value in headers.items()},
        )

    def starts(self, name: str) -> list[int]:
        """Return at which offsets downloads of `name` began, in order."""
        return [served.start for served in self.served if served.name == name]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Hub"]:
        """Serve until the block ends."""
        front, cdn = web.Application(), web.Application()
        front.router.add_route(
            "*", "/{repo:[^/]+/[^/]+}/resolve/{revision}/{file:.+}", self._resolve
        )
        front.router.add_route("*", "/files/{name:.+}", self._file)
        cdn.router.add_route("*", "/cdn/{name:.+}", self._file)
        runners = [
            web.AppRunner(front, shutdown_timeout=0.1),
            web.AppRunner(cdn, shutdown_timeout=0.1),
        ]
        try:
            self.url, self.cdn_url = [await _listen(runner) for runner in runners]
            yield self
        finally:
            self._closing.set()
            for runner in runners:
                await runner.cleanup()

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        name = f"{request.match_info['repo']}/{request.match_info['file']}"
        self.revisions.append(request.match_info["revision"])
        self.tokens.append(request.headers.get("Authorization", ""))
        if name in self.refusals:
            status, headers = self.refusals[name]
            return web.Response(status=status, headers=headers)
        if name not in self.files:
            return web.Response(status=404, headers={"X-Error-Code": "EntryNotFound"})
        content = self.files[name]
        return web.Response(
            status=302,
            headers={
                "Location": f"{self.cdn_url}/cdn/{name}",
                "X-Repo-Commit": COMMIT,
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                "X-Linked-Size": str(len(content)),
                "ETag": '"of-the-redirect"',
            },
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name in self.refusals:
            status, headers = self.refusals[name]
            return web.Response(status=status, headers=headers)
        if name not in self.files:
            return web.Response(status=404)
        content = self.files[name]
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        if request.method == "HEAD" and not self.answers_head:
            return web.Response(status=405)
        if request.method == "HEAD":
            return web.Response(headers={"ETag": etag, "Content-Length": str(len(content))})
        fault = self.faults[name].popleft() if self.faults[name] else Fault()
        start = 0 if fault.whole else _start(request, etag)
        self.served.append(
            Served(name=name, start=start, authorized="Authorization" in request.headers)
        )
        if fault.status:
            return web.Response(status=fault.status, headers=fault.headers)
        return await self._send(request, content, start, etag, fault)

    async def _send(
        self, request: web.Request, content: bytes, start: int, etag: str, fault: Fault
    ) -> web.StreamResponse:
        body = bytearray(content[start:])
        if fault.corrupt:
            body[-1] ^= 1
        headers = {"ETag": etag, "Content-Length": str(len(body))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        await self._write(response, body[: fault.after_bytes], fault)
        if fault.cut:
            assert request.transport is not None
            request.transport.close()
            return response
        if fault.stall:
            await self._closing.wait()
            return response
        if fault.hold is not None:
            await fault.hold.wait()
        await self._write(response, body[fault.after_bytes :], fault)
        return response

    async def _write(self, response: web.StreamResponse, body: bytearray, fault: Fault) -> None:
        piece = 64 * 1024
        for offset in range(0, len(body), piece):
            if fault.lag_s:
                await asyncio.sleep(0.01)  # so that the client has nothing left to read
                pass_s(fault.lag_s)
                await asyncio.sleep(0)  # what is due by now ends
            await response.write(bytes(body[offset : offset + piece]))


def _start(request: web.Request, etag: str) -> int:
    condition = request.headers.get("If-Range", etag)
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    return int(match[1]) if match and condition == etag else 0


async def _listen(runner: web.AppRunner) -> str:
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


def isolate(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Make sure that no token, proxy or setting of this machine takes part."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
