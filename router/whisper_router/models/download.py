"""One download under way: owns its program, knows its progress, wakes who waits."""

import asyncio
import logging
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from whisper_router.errors import ShuttingDown
from whisper_router.metrics import DOWNLOADS
from whisper_router.models.fetch_job import (
    Done,
    Failed,
    FetchEvent,
    FetchJob,
    Progress,
    decode_event,
    encode_job,
)
from whisper_router.models.layout import name_of

log = structlog.get_logger(__name__)

# -P: nothing from the current directory may stand in for a library.
WORKER_ARGV = (sys.executable, "-P", "-m", "whisper_router.models.fetch_worker")
LOG_EVERY_S = 5.0
# Beyond the longest that the program may say nothing by its own rules: a look-up and a pause.
SILENCE_MARGIN_S = 90.0
RETRY_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadProgress:
    """How far a download is. `waiting`: another process is at it."""

    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float
    waiting: bool

    @property
    def percent(self) -> int | None:
        """Whole per cent, rounded down; None while the size is not known."""
        return None if not self.total_bytes else self.done_bytes * 100 // self.total_bytes

    @property
    def remaining_s(self) -> float | None:
        """How long it takes at this speed; None when that cannot be told."""
        if self.total_bytes is None or self.bytes_per_s <= 0:
            return None
        return (self.total_bytes - self.done_bytes) / self.bytes_per_s


OnProgress = Callable[[DownloadProgress], None]


class Download:
    """The download of one file. Waiters may come and go; it goes on without any."""

    def __init__(self, job: FetchJob, *, argv: tuple[str, ...] = WORKER_ARGV) -> None:
        self.progress = DownloadProgress(
            done_bytes=0, total_bytes=job.source.size_bytes, bytes_per_s=0.0, waiting=False
        )
        self.failure: Failed | None = None
        self._job = job
        self._argv = argv
        self._finished = asyncio.Event()
        self._listeners: list[OnProgress] = []
        self._name = name_of(job.source)
        self._began: tuple[float, int] | None = None
        self._logged_s = time.monotonic()
        self._trouble: str | None = None

    async def wait(self, on_progress: OnProgress | None = None) -> None:
        """Return when the file is there. Leaving does not stop the download.

        Raises:
            ModelUnavailable: the file cannot be had.
            StorageFull: there is no room for it.
            ShuttingDown: the router stops.
        """
        if on_progress is not None:
            self._listeners.append(on_progress)
            on_progress(self.progress)
        try:
            await self._finished.wait()
        finally:
            if on_progress is not None:
                self._listeners.remove(on_progress)
        if self.failure is not None:
            raise self.failure.error()

    async def run(self) -> None:
        """Fetch the file. The outcome is told to the waiters, never raised."""
        started_s = time.monotonic()
        log.info("model_download_started", file=self._name)
        outcome: FetchEvent = _failed(f"The download of {self._name} failed; the log says why")
        try:
            outcome = await self._run_program()
        except asyncio.CancelledError:
            outcome = _failed("The server is stopping", code=ShuttingDown.code)
            raise
        except OSError as error:
            outcome = _failed(f"The download program cannot be started: {error}")
        finally:
            self._finish(outcome, took_s=time.monotonic() - started_s)
            self._finished.set()

    async def _run_program(self) -> Done | Failed:
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C in the terminal is the router's to handle
        )
        try:
            return await self._follow(process)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _follow(self, process: asyncio.subprocess.Process) -> Done | Failed:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the download program was started without pipes")
        with suppress(BrokenPipeError, ConnectionResetError):  # it died; its output says of what
            if not process.stdin.is_closing():  # uvloop's pipe raises RuntimeError instead
                process.stdin.write(encode_job(self._job))
                await process.stdin.drain()
        noise: deque[str] = deque(maxlen=8)
        try:
            while line := await self._read_line(process.stdout):
                event = decode_event(line)
                if isinstance(event, Progress):
                    self._advance(event)
                elif event is not None:
                    return event
                else:
                    noise.append(line.decode(errors="replace").strip())
        except TimeoutError:
            return _failed(f"The download of {self._name} hung and was ended")
        return _failed(_describe_end(await process.wait(), noise))

    async def _read_line(self, stdout: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(self._job.limits.stall_s + SILENCE_MARGIN_S):
            return await stdout.readline()

    def _advance(self, event: Progress) -> None:
        now_s = time.monotonic()
        if self._began is None and not event.waiting:
            self._began = (now_s, event.done_bytes)
        total = event.total_bytes
        self.progress = DownloadProgress(
            done_bytes=event.done_bytes,
            total_bytes=self.progress.total_bytes if total is None else total,
            bytes_per_s=self._speed(now_s, event.done_bytes),
            waiting=event.waiting,
        )
        for listener in tuple(self._listeners):
            listener(self.progress)
        self._log_now_and_then(now_s, event.trouble)

    def _speed(self, now_s: float, done_bytes: int) -> float:
        if self._began is None or now_s <= self._began[0]:
            return 0.0
        return (done_bytes - self._began[1]) / (now_s - self._began[0])

    def _log_now_and_then(self, now_s: float, trouble: str | None) -> None:
        """Log how far it is; each new reason why it was interrupted has a line of its own."""
        is_news = trouble is not None and trouble != self._trouble
        if not is_news and now_s < self._logged_s + LOG_EVERY_S:
            return
        self._logged_s, self._trouble = now_s, trouble or self._trouble
        progress = self.progress
        told: dict[str, object] = {} if trouble is None else {"reason": trouble}
        log.log(
            logging.INFO if trouble is None else logging.WARNING,
            "model_download_progress" if trouble is None else "model_download_interrupted",
            file=self._name,
            done_bytes=progress.done_bytes,
            total_bytes=progress.total_bytes,
            percent=progress.percent,
            waiting=progress.waiting,
            **told,
        )

    def _finish(self, outcome: FetchEvent, *, took_s: float) -> None:
        DOWNLOADS.labels("done" if isinstance(outcome, Done) else "failed").inc()
        if isinstance(outcome, Failed):
            self.failure = outcome
            log.warning("model_download_failed", file=self._name, reason=outcome.message)
        elif isinstance(outcome, Done):
            log.info(
                "model_download_finished",
                file=self._name,
                fetched_bytes=outcome.fetched_bytes,
                verified=outcome.verified,
                took_s=round(took_s, 1),
            )


def _failed(message: str, *, code: str | None = None) -> Failed:
    return Failed(code=code or "", message=message, retry_after_s=RETRY_S)


def _describe_end(returncode: int, noise: deque[str]) -> str:
    how = (
        f"with status {returncode}" if returncode >= 0 else f"by {signal.Signals(-returncode).name}"
    )
    said = f": {' | '.join(noise)}" if noise else ""
    return f"The download program ended {how} before it was done{said}. What it fetched is kept"
