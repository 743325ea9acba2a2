"""A web server of a client: it has audio at an address, and takes webhooks."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web


@dataclass
class Receiver:
    """What came. `failures` is how many calls are answered 500 before the first that is not."""

    url: str = ""
    failures: int = 0
    calls: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    headers: list[dict[str, str]] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, count: int) -> None:
        """Return once so many jobs were told of."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.calls) >= count)


@asynccontextmanager
async def receiver(folder: Path, *, failures: int = 0) -> AsyncIterator[Receiver]:
    """Serve the files of a folder, and `/hook`, on a free port."""
    received = Receiver(failures=failures)

    async def hook(request: web.Request) -> web.Response:
        if received.failures:
            received.failures -= 1
            return web.Response(status=500)
        body = await request.json()
        received.headers.append(dict(request.headers))
        told_of = body.get("task_id") or body.get("job_id") or body["data"]["id"]
        received.calls[told_of].append({"id": request.headers["webhook-id"], "body": body})
        async with received.arrived:
            received.arrived.notify_all()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", hook)
    app.router.add_static("/", folder)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    received.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield received
    finally:
        await runner.cleanup()
