"""Engine plugins over `engine_program.py`: real programs, with habits chosen per test."""

import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import ClassVar

import aiohttp
from pydantic import BaseModel

from whisper_router.domain import Chunk, LanguageDetected, Segment, Task, TranscriptionRequest
from whisper_router.engine_api import (
    Capabilities,
    Endpoint,
    EndpointKind,
    EngineEvent,
    Launch,
    ReadyInfo,
    WorkerStarted,
)
from whisper_router.errors import EngineCrashed

PROGRAM = Path(__file__).with_name("engine_program.py")


class ProgramOptions(BaseModel):
    """Which habits the program has, and how many of it there are."""

    flags: tuple[str, ...] = ()
    workers: int = 1
    processes: int = 1
    acceleration: str = "auto"


def program_argv(endpoint: Endpoint, *flags: str) -> tuple[str, ...]:
    """Return the command line of the program at this endpoint."""
    address = str(endpoint.socket) if endpoint.socket else endpoint.url.rpartition(":")[2]
    return (sys.executable, "-I", "-S", str(PROGRAM), *flags, address)


class ProgramEngine:
    """Serves through a Unix socket."""

    name: ClassVar[str] = "program"
    Options: ClassVar[type[BaseModel]] = ProgramOptions
    endpoint_kind: ClassVar[EndpointKind] = EndpointKind.UNIX

    def bundled_models(self) -> Mapping[str, Path]:
        return {}

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch | None:
        assert isinstance(options, ProgramOptions)
        return Launch(
            argv=program_argv(endpoint, *options.flags),
            workers=options.workers,
            processes=options.processes,
        )

    def capabilities(self, options: BaseModel) -> Capabilities:
        return Capabilities(
            tasks=frozenset({Task.TRANSCRIBE}),
            streaming=False,
            word_timestamps=False,
            logprobs=False,
            languages=None,
            concurrency=2,
            accelerators=frozenset({"cpu"}),
        )

    async def is_ready(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
        async with http.get(f"{endpoint.url}/health") as answer:
            if answer.status != 200:
                return None
            pid = (await answer.json(content_type=None))["pid"]
        return ReadyInfo(accelerator="cpu", languages=frozenset({"en"}), details={"pid": str(pid)})

    async def transcribe(
        self,
        http: aiohttp.ClientSession,
        endpoint: Endpoint,
        chunk: Chunk,
        request: TranscriptionRequest,
    ) -> AsyncIterator[EngineEvent]:
        text = await ask(http, endpoint)
        yield WorkerStarted(pid=0)
        yield LanguageDetected(code="en", probability=1.0)
        yield Segment(start_s=0.0, end_s=1.0, text=text)


class TcpProgramEngine(ProgramEngine):
    """Serves on a loopback port."""

    endpoint_kind: ClassVar[EndpointKind] = EndpointKind.TCP


class ProcesslessEngine(ProgramEngine):
    """Has nothing to supervise, as an engine that asks another server."""

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch | None:
        return None

    async def is_ready(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
        return ReadyInfo(accelerator="remote", languages=frozenset({"en"}))


async def ask(http: aiohttp.ClientSession, endpoint: Endpoint) -> str:
    """Return what the program heard."""
    try:
        async with http.get(f"{endpoint.url}/transcribe") as answer:
            text: str = (await answer.json(content_type=None))["text"]
            return text
    except aiohttp.ClientError as error:
        raise EngineCrashed("The engine's answer ended before it was complete.") from error
