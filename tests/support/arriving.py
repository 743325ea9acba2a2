"""Requests as they arrive at a server."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import aiohttp
from aiohttp import web

from whisper_router.errors import RouterError

T = TypeVar("T")


async def arrived(
    look: Callable[[web.Request], T],
    headers: Iterable[tuple[str, str]] = (),
    *,
    app: web.Application | None = None,
    peer: str = "127.0.0.1",
) -> T:
    """Return what `look` says of a request that comes from `peer`, an address of this machine.

    Raises:
        RouterError: as `look` has raised it.
    """
    said: list[T] = []
    raised: list[RouterError] = []

    async def handle(request: web.Request) -> web.Response:
        try:
            said.append(look(request))
        except RouterError as error:
            raised.append(error)
        return web.Response()

    app = web.Application() if app is None else app
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        connector = aiohttp.TCPConnector(local_addr=(peer, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.get(url, headers=list(headers)) as answer,
        ):
            assert answer.status == 200
    finally:
        await runner.cleanup()
    if raised:
        raise raised[0]
    return said[0]
