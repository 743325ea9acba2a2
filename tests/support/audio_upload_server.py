"""A server that spools uploads and answers with what it got: a program, and a part for tests.

python audio_upload_server.py ROOT LIMIT_BYTES    prints its port, ends with its stdin
"""

import asyncio
import hashlib
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from whisper_router.audio.media import EXTENSIONS
from whisper_router.audio.spool import Spool
from whisper_router.audio.upload import UploadLimits, drain, spool_upload
from whisper_router.errors import RouterError

DRAIN_BYTES = 64 << 20


@dataclass
class UploadServer:
    """Where it listens, and what became of the last request."""

    spool: Spool
    limits: UploadLimits
    drain_timeout_s: float = 10.0
    port: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    files_at_error: int | None = None

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the form, or with the error's envelope once the body was drained."""
        self.begun.set()
        try:
            async with spool_upload(request, self.spool, self.limits) as upload:
                digest = await asyncio.to_thread(_digest, upload.file)
                return web.json_response(
                    {
                        "fields": upload.fields,
                        "filename": upload.filename,
                        "content_type": upload.content_type,
                        "size": upload.size_bytes,
                        "sha256": digest,
                        "peak_bytes": peak_bytes(),
                    }
                )
        except RouterError as error:
            self.files_at_error = len(await asyncio.to_thread(self._files))
            drained = await drain(request, limit_bytes=DRAIN_BYTES, timeout_s=self.drain_timeout_s)
            body = error.envelope() | {"drained": drained}
            return web.json_response(body, status=error.status)
        finally:
            self.ended.set()

    def _files(self) -> list[Path]:
        return list(self.spool.directory.iterdir())


@asynccontextmanager
async def running(server: UploadServer) -> AsyncIterator[UploadServer]:
    """Listen on a free port until the block ends."""
    app = web.Application()
    app.router.add_post("/", server.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def peak_bytes() -> int:
    """The most memory this process ever held (getrusage(2): KiB, on macOS bytes)."""
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def _digest(path: Path | None) -> str | None:
    if path is None:
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _main(root: Path, limit_bytes: int) -> None:
    limits = UploadLimits(max_upload_bytes=limit_bytes, idle_timeout_s=30, extensions=EXTENSIONS)
    with Spool.create(root) as spool:
        async with running(UploadServer(spool=spool, limits=limits)) as server:
            print(server.port, flush=True)
            await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
