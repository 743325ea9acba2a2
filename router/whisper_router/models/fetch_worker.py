"""The download program: `python -m whisper_router.models.fetch_worker`.

It reads one job from stdin, writes events to stdout (`fetch_job`) and ends when the job does, or
when its stdin does: a router that dies takes its downloads with it. What was fetched stays on disk,
and the next download of the same file goes on from there. A program of its own keeps the router
small, makes stopping a download certain, and hashing a file nobody else's wait.
"""

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time

from whisper_router.errors import RouterError
from whisper_router.models.fetch_job import (
    Failed,
    FetchEvent,
    FetchJob,
    Progress,
    decode_job,
    encode_event,
)
from whisper_router.models.transfer import fetch
from whisper_router.tasks import Tasks

REPORT_EVERY_S = 0.1
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> int:
    """Run one job. Returns 0 when its outcome was reported, good or bad."""
    _die_with_parent()
    job = decode_job(sys.stdin.buffer.readline())
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
    _send(asyncio.run(_run(job)))
    return 0


async def _run(job: FetchJob) -> FetchEvent:
    reporter, tasks = Reporter(), Tasks()
    tasks.spawn(reporter.run(), name="report")
    try:
        return await fetch(job, reporter)
    except RouterError as error:
        return Failed(
            code=error.code or "", message=str(error), retry_after_s=error.retry_after_s or 1
        )
    finally:
        await tasks.close()


class Reporter:
    """Sends progress, but not more often than anybody could want to see."""

    def __init__(self) -> None:
        self._next_s = 0.0
        self._unsent: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Send `progress` now or soon; trouble now, or the next progress would take its place."""
        self._unsent = progress
        # The clock is asked here because hashing keeps the event loop busy.
        if progress.trouble is not None or time.monotonic() >= self._next_s:
            self._flush()

    async def run(self) -> None:
        """Send what came too soon after the last one; without this a stall would hide bytes."""
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            self._flush()

    def _flush(self) -> None:
        if self._unsent is not None:
            _send(self._unsent)
            self._unsent = None
            self._next_s = time.monotonic() + REPORT_EVERY_S


def _send(event: FetchEvent) -> None:
    sys.stdout.write(encode_event(event) + "\n")
    sys.stdout.flush()


def _exit_at_end_of_stdin() -> None:
    # Not through sys.stdin: a thread inside its buffer makes the interpreter abort when it ends.
    while os.read(0, 4096):
        pass
    os._exit(1)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
