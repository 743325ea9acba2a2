"""A server with the OpenAI audio API's routes that does with requests what it is told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class OddServer:
    """A server that does with a request what it is told to."""

    url: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    arrived: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)
    do: str = "answer"
    is_down: bool = False
    """It says that it is not well."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Is set when somebody left before the answer."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._handle(request)
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        if self.do == "refuse early":
            return web.json_response({"error": {"message": "too large"}}, status=413)
        if self.do == "answer early":
            early = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await early.prepare(request)
            await early.write(b": here\n\n")
        if self.do == "redirect":
            raise web.HTTPFound("/v1/models")
        body = b""
        async for piece in request.content.iter_any():
            body += piece
            self.arrived.put_nowait(piece)
        self.bodies.append(body)
        if self.do == "answer early":
            await early.write(b"data: {}\n\n")
            return early
        if self.do == "be silent":
            await self.held.wait()
        elif self.do == "hang up":
            assert request.transport is not None
            request.transport.close()
        elif self.do == "break":
            return web.Response(status=500)
        elif self.do == "be busy":
            error = {"message": "busy", "code": "server_is_overloaded"}
            return web.json_response({"error": error}, status=503, headers={"Retry-After": "3"})
        elif self.do == "stream":
            return await self._stream(request)
        elif self.do == "nonsense":
            return web.Response(text="<html>", content_type="text/html")
        return web.json_response({"text": "hello", "language": "english", "segments": [3]})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b'data: {"delta": "one"}\n\n')
        await self.held.wait()
        assert request.transport is not None
        request.transport.close()
        return response

    async def models(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.do == "refuse the key":
            return web.json_response({}, status=401)
        return web.json_response({}, status=500 if self.is_down else 404)


@asynccontextmanager
async def odd_server() -> AsyncIterator[OddServer]:
    """Serve on a free loopback port."""
    server = OddServer()
    app = web.Application(client_max_size=1 << 30)
    for route in ("transcriptions", "translations"):
        app.router.add_post(f"/v1/audio/{route}", server.handle)
    app.router.add_get("/v1/models", server.models)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        server.held.set()
        await runner.cleanup()
