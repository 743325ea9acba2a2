"""Runs an engine's process for a test, without the supervisor."""

import array
import asyncio
import os
import signal
import sys
import tempfile
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from pydantic import BaseModel

from whisper_router.domain import SAMPLE_RATE_HZ, Chunk
from whisper_router.engine_api import Endpoint, EndpointKind, Engine, Launch, ReadyInfo
from whisper_router.supervisor.listeners import LOOPBACK, free_port
from whisper_router.supervisor.proctable import family, read_table

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
POLL_S = 0.02
AT_WORK_S = 0.05
"""Processor time by which a process that has a chunk shows that it computes."""


class EngineDidNotStartError(Exception):
    """The process ended, or did not serve in time; the message holds its stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A serving engine process."""

    engine: Engine
    endpoint: Endpoint
    http: aiohttp.ClientSession
    process: asyncio.subprocess.Process
    ready: ReadyInfo
    launch: Launch
    output: Path

    def printed(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors="replace")

    async def ended(self, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the process has ended; return its exit code."""
        async with asyncio.timeout(timeout_s):
            return await self.process.wait()

    def end_stdin(self) -> None:
        """Close the process's stdin, as a router that dies does."""
        assert self.process.stdin is not None  # noqa: S101 it was started with a pipe
        self.process.stdin.close()


@asynccontextmanager
async def running(engine: Engine, model: Path, options: BaseModel) -> AsyncIterator[Running]:
    """Start one process of `engine`, wait until it serves, and end it with its whole group.

    Raises:
        EngineDidNotStartError: it ended or did not serve; see there.
    """
    with tempfile.TemporaryDirectory(prefix="wr-") as folder:  # short: socket paths have a limit
        endpoint = make_endpoint(engine.endpoint_kind, Path(folder))
        launch = engine.launch(model, options, endpoint)
        if launch is None:
            raise EngineDidNotStartError(f"engine '{engine.name}' has no process to start")
        async with _session(endpoint) as http, _process(launch, Path(folder)) as process:
            ready = await _until_ready(engine, http, endpoint, process, Path(folder))
            yield Running(
                engine=engine,
                endpoint=endpoint,
                http=http,
                process=process,
                ready=ready,
                launch=launch,
                output=Path(folder) / "stderr",
            )


async def start_error(engine: Engine, model: Path, options: BaseModel) -> str:
    """Return what the process says on stderr when it cannot start.

    Raises:
        AssertionError: it did start.
    """
    try:
        async with running(engine, model, options):
            raise AssertionError(f"the engine serves {model}")
    except EngineDidNotStartError as error:
        return str(error)


def make_endpoint(kind: EndpointKind, folder: Path) -> Endpoint:
    """Return a fresh endpoint: a socket in `folder`, or a loopback port that is free now."""
    if kind is EndpointKind.UNIX:
        return Endpoint(kind=kind, url="http://engine", socket=folder / "engine.sock")
    return Endpoint(kind=kind, url=f"http://{LOOPBACK}:{free_port()}")


def write_spool(source: Path, target: Path, *, repeat: int = 1) -> Chunk:
    """Write a 16 kHz mono 16-bit WAV as a raw float32 file; return the chunk that is all of it."""
    with wave.open(str(source)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (
            SAMPLE_RATE_HZ,
            1,
            2,
        ):
            raise ValueError(f"{source}: not 16 kHz, mono, 16 bit")
        samples = array.array("h", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    target.write_bytes(array.array("f", [value / 32768 for value in samples]).tobytes() * repeat)
    return Chunk(path=target, start=0, end=len(samples) * repeat)


@asynccontextmanager
async def _session(endpoint: Endpoint) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(str(endpoint.socket)) if endpoint.socket else None
    async with aiohttp.ClientSession(connector=connector) as http:
        yield http


@asynccontextmanager
async def _process(launch: Launch, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    with (folder / "stderr").open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *launch.argv,
            env=os.environ | dict(launch.env),
            stdin=asyncio.subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        assert process.stdin is not None  # noqa: S101 it was started with a pipe
        process.stdin.close()
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()


async def _until_ready(
    engine: Engine,
    http: aiohttp.ClientSession,
    endpoint: Endpoint,
    process: asyncio.subprocess.Process,
    folder: Path,
) -> ReadyInfo:
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while process.returncode is None:
                with suppress(aiohttp.ClientError, OSError):
                    if (ready := await engine.is_ready(http, endpoint)) is not None:
                        return ready
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise EngineDidNotStartError(f"not ready in {START_TIMEOUT_S} s: {_said(folder)}") from None
    raise EngineDidNotStartError(_said(folder))


def _said(folder: Path) -> str:
    return (folder / "stderr").read_text(errors="replace")


async def end_at_work(pid: int, signum: signal.Signals) -> None:
    """Send the signal when a process and its children have computed for `AT_WORK_S` from now."""
    begin_s = _cpu_s(pid)
    while _cpu_s(pid) - begin_s < AT_WORK_S:  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(POLL_S)
    os.kill(pid, signum)


def _cpu_s(pid: int) -> float:
    return sum(row.cpu_s for row in family(pid, read_table()))
