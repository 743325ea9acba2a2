"""A small server that shows what a reverse proxy does to streams."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

TOO_LARGE = "refused by the router"


@dataclass(slots=True, kw_only=True)
class ProxiedApp:
    """Listens on `port`; the events tell a test what has happened and let it decide what will."""

    port: int = 0
    upload_began: asyncio.Event = field(default_factory=asyncio.Event)
    release_second_event: asyncio.Event = field(default_factory=asyncio.Event)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send one event of 9 bytes, and the next when the test says so."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if "with-length" in request.query:
            response.content_length = 18
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await self.release_second_event.wait()
        await response.write(b"data: 2\n\n")
        return response

    async def upload(self, request: web.Request) -> web.Response:
        """Count the bytes of the body; say when the first have come."""
        received = 0
        async for piece in request.content.iter_any():
            received += len(piece)
            self.upload_began.set()
        return web.json_response({"received": received})

    async def refuse(self, _: web.Request) -> web.Response:
        """Answer 413 without reading the body, as the router does when it sees the length."""
        return web.Response(status=413, text=TOO_LARGE, headers={"Connection": "close"})

    async def headers(self, request: web.Request) -> web.Response:
        """Return the headers as they came."""
        return web.json_response(dict(request.headers))

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Echo text."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket


@asynccontextmanager
async def proxied_app() -> AsyncIterator[ProxiedApp]:
    """Serve a `ProxiedApp` on a free loopback port."""
    state = ProxiedApp()
    app = web.Application()
    app.router.add_get("/events", state.events)
    app.router.add_post("/upload", state.upload)
    app.router.add_post("/refuse", state.refuse)
    app.router.add_get("/headers", state.headers)
    app.router.add_get("/websocket", state.websocket)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        state.port = runner.addresses[0][1]
        yield state
    finally:
        await runner.cleanup()
