"""The download program by itself."""

import asyncio
from pathlib import Path

from support.hub import Fault, Hub
from whisper_router.models.download import WORKER_ARGV
from whisper_router.models.fetch_job import FetchJob, Progress, decode_event, encode_job
from whisper_router.models.source import HubFile

CONTENT = bytes(1024 * 1024)
HALF = len(CONTENT) // 2


async def test_it_ends_when_its_stdin_does(hub: Hub, directory: Path) -> None:
    """In mid-download; that is how a router that dies takes it along, on every system."""
    hub.add("owner/repo/m.bin", CONTENT)
    hub.faults["owner/repo/m.bin"].append(Fault(after_bytes=HALF, stall=True))
    job = FetchJob(
        source=HubFile(repo="owner/repo", file="m.bin"),
        target=directory / "m.bin",
        lock=directory / "lock",
        endpoint=hub.url,
    )
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*WORKER_ARGV, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(encode_job(job))
    await process.stdin.drain()
    async with asyncio.timeout(20):
        while decode_event(await process.stdout.readline()) != Progress(
            done_bytes=HALF, total_bytes=len(CONTENT)
        ):
            assert not process.stdout.at_eof()
        process.stdin.close()
        assert await process.wait() == 1
