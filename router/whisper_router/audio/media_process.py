"""One media worker process as seen from the router: start it, give it a job, end it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from whisper_router.audio.media import (
    Found,
    Heard,
    MediaLimits,
    PcmFormat,
    PreparedAudio,
    Span,
    VadOptions,
)
from whisper_router.domain import SAMPLE_RATE_HZ
from whisper_router.errors import (
    AudioRejected,
    AudioTooLong,
    AudioTooShort,
    AudioUndecodable,
    ChannelsUnusable,
    MediaFailed,
    RouterError,
    StorageFull,
)
from whisper_router.tasks import Tasks

PROGRAM = "whisper_router.audio.media_worker"
MAX_EVENT_BYTES = 1 << 20  # what is found in half a minute is a few KiB of JSON
STDERR_TAIL_BYTES = 2048
KILL_TIMEOUT_S = 5.0
# Decoders of strangers' files get no secrets: nothing else of our environment is passed on.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH")
_LIBRARIES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")

_ERRORS: Mapping[str, type[RouterError]] = {
    str(kind.code): kind
    for kind in (
        AudioRejected,
        AudioTooLong,
        AudioTooShort,
        AudioUndecodable,
        ChannelsUnusable,
        MediaFailed,
        StorageFull,
    )
}


class WorkerLostError(Exception):
    """The worker's output ended before its answer was complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A file to decode, and what to look for in it.

    `levels` is the file for how loud each channel is; None: it is not measured.
    """

    source: Path
    target: Path
    pcm: PcmFormat | None
    vad: VadOptions | None
    levels: Path | None = None

    def line(self) -> bytes:
        """Return what the worker reads."""
        order = {
            "source": str(self.source),
            "target": str(self.target),
            "pcm": asdict(self.pcm) if self.pcm else None,
            "vad": asdict(self.vad) if self.vad else None,
            "levels": None if self.levels is None else str(self.levels),
        }
        return json.dumps(order).encode() + b"\n"


class MediaProcess:
    """A running worker. Whoever holds it gives it one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process, limits: MediaLimits) -> None:
        self._process = process
        self._limits = limits
        self._killed = False
        self._stderr = bytearray()

    @classmethod
    async def start(cls, limits: MediaLimits, tasks: Tasks, *, scratch: Path | None = None) -> Self:
        """Start the program. It is of use once `ready` has returned. See `MediaPool`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", PROGRAM),
            *("--memory-bytes", str(limits.memory_bytes)),
            *("--max-duration-s", str(limits.max_duration_s)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_EVENT_BYTES,
            env=_environment(scratch),
            start_new_session=True,  # Ctrl-C in a terminal is the router's to handle
        )
        worker = cls(process, limits)
        tasks.spawn(worker._drain_stderr(), name=f"media worker {process.pid} stderr")
        return worker

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_usable(self) -> bool:
        """Whether it lives and nobody has decided to end it."""
        return not self._killed and self._process.returncode is None

    async def ready(self) -> None:
        """Wait until it takes jobs.

        Raises:
            WorkerLostError: it ended first; the message has the end of its stderr.
            TimeoutError: it took longer than `start_timeout_s`.
        """
        await self._event(self._limits.start_timeout_s)

    async def run(
        self, job: Job, *, size_bytes: int, heard: Callable[[Heard], None]
    ) -> PreparedAudio:
        """Return the decoded audio. A worker that has not answered in full is killed.

        `heard` is called after each piece; what it is told of is in the target file by then.
        `size_bytes`, the size of the source, says how long all may take.

        Raises:
            RouterError: the file was refused, with the reason, or took too long.
            WorkerLostError: the worker crashed or was killed.
        """
        answered = False
        try:
            result = await self._exchange(job, size_bytes, heard)
            answered = True
        except TimeoutError as error:
            raise AudioRejected("The file takes too long to decode.") from error
        finally:
            if not answered:
                await self.end()
        if isinstance(result, RouterError):
            raise result
        return result

    def kill(self) -> None:
        """Send SIGKILL; `exited` tells when it is gone."""
        self._killed = True
        if self._process.returncode is None:
            self._process.kill()

    async def end(self) -> None:
        """Kill it and see it gone, so that it writes to no file any more."""
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await self.exited()

    async def exited(self) -> None:
        """Wait for its end."""
        await self._process.wait()

    def ending(self) -> str:
        """Return how it ended: the name of a signal or an exit status."""
        status = self._process.returncode
        if status is None or status >= 0:
            return f"exit {status}"
        return signal.strsignal(-status) or f"signal {-status}"

    def last_words(self) -> str:
        """Return the last line of its stderr."""
        lines = self._stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    async def _exchange(
        self, job: Job, size_bytes: int, heard: Callable[[Heard], None]
    ) -> PreparedAudio | RouterError:
        began_s, listened_s = time.monotonic(), 0.0
        speech: list[Span] = []
        await self._send(job.line())
        while True:
            limit_s = self._limits.timeout_s(size_bytes=size_bytes, listened_s=listened_s)
            event = await self._event(began_s + limit_s - time.monotonic())
            match event["event"]:
                case "heard":
                    piece = _heard(event)
                    if piece.found is not None:
                        listened_s = piece.decoded_s
                        speech += piece.found.spans
                    heard(piece)
                case "decoded":
                    return _prepared(job, event, speech)
                case _:
                    return _error(event)

    async def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():  # uvloop's pipe raises RuntimeError then
            raise WorkerLostError(self.last_words())
        try:
            stdin.write(line)
            await stdin.drain()
        except ConnectionError as error:
            raise WorkerLostError from error

    async def _event(self, timeout_s: float) -> Mapping[str, Any]:
        stdout = self._process.stdout
        async with asyncio.timeout(timeout_s):
            line = await stdout.readline() if stdout is not None else b""
        if not line.endswith(b"\n"):
            raise WorkerLostError(self.last_words())
        event: Mapping[str, Any] = json.loads(line)
        return event

    async def _drain_stderr(self) -> None:
        stderr = self._process.stderr
        while stderr is not None and (data := await stderr.read(STDERR_TAIL_BYTES)):
            self._stderr = (self._stderr + data)[-STDERR_TAIL_BYTES:]


def _prepared(job: Job, event: Mapping[str, Any], speech: Sequence[Span]) -> PreparedAudio:
    return PreparedAudio(
        path=job.target,
        samples=event["samples"],
        duration_s=event["samples"] / SAMPLE_RATE_HZ,
        speech=None if job.vad is None else tuple(speech),
        codec=event["codec"],
        sample_rate_hz=event["sample_rate_hz"],
        channels=event["channels"],
    )


def _heard(event: Mapping[str, Any]) -> Heard:
    found = event["found"]
    return Heard(
        decoded_s=event["decoded_s"],
        expected_s=event["expected_s"],
        found=None if found is None else _found(found),
    )


def _found(found: Mapping[str, Any]) -> Found:
    going_on = found["going_on"]
    return Found(
        spans=tuple(Span(**span) for span in found["spans"]),
        pauses=tuple(Span(**span) for span in found["pauses"]),
        going_on=None if going_on is None else Span(**going_on),
        quiet_until_s=found["quiet_until_s"],
    )


def _error(event: Mapping[str, Any]) -> RouterError:
    return _ERRORS[event["code"]](event["message"])


def _environment(scratch: Path | None) -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in (*_ENVIRONMENT, *_LIBRARIES) if name in os.environ}
    # ONNX Runtime's wheels can report to their maker, and leave a device id in the user's cache.
    private = {"ORT_DISABLE_TELEMETRY": "1"}
    if scratch is not None:
        private["TMPDIR"] = str(scratch)
    return kept | private | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
