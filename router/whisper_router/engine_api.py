"""The seam between the router and an engine plugin.

A plugin is a class with the shape of `Engine`, named by an entry point in the group
`whisper_router.engines`. It imports this module, `domain` and `errors`, and nothing else of ours.
`whisper_router.testing.conformance` holds the tests that every engine must pass.
"""

import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final, Protocol, runtime_checkable

import aiohttp
from pydantic import BaseModel

from whisper_router.domain import Chunk, LanguageDetected, Segment, Task, TranscriptionRequest

SENT_BY_OTHERS: Final = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM})
"""Signals that end a program because somebody wants it to end, not because of what it did.

The kernel sends SIGKILL, too, when memory runs out: the router looks at its count of those.
"""
SHELL_SIGNAL_BASE: Final = 128
"""A shell reports a child that a signal ended as 128 + the signal's number (POSIX sh, 2.8.2)."""


def was_ended_by_others(code: int) -> bool:
    """Tell whether a program that ended with `code` was ended, and did not fail by itself.

    `code` is as of `subprocess`: negative for a signal. An exit with 0 is how a program that was
    asked to end may do so; it is no failure.
    """
    number = -code if code <= 0 else code - SHELL_SIGNAL_BASE
    return code == 0 or number in SENT_BY_OTHERS


class EndpointKind(StrEnum):
    """How the router reaches a process."""

    UNIX = "unix"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one engine process listens.

    `url` is the base for HTTP requests. For a Unix socket the host in it means nothing and
    `socket` is the path; the session given to the engine already connects there. The folder is
    private to the router's user. A process may put files of its own beside the socket, under the
    socket's name with another suffix: they are removed with it.
    """

    kind: EndpointKind
    url: str
    socket: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start one engine process. Pure data: building it does no I/O.

    `env` is laid over the router's own environment. A process must exit when its stdin reaches end
    of file. A line on its stderr that begins with `error: ` is told to the user when the start
    fails. `workers` is how many chunks one process runs at a time; `processes` how many such
    processes make the alias's pool. `gpu` is the device on which it surely computes, as CUDA counts
    them; None: on none, or that only shows when it runs.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    processes: int = 1
    gpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an engine can do with given options. `languages` None means: the model decides."""

    tasks: frozenset[Task]
    streaming: bool
    word_timestamps: bool
    logprobs: bool
    languages: frozenset[str] | None
    concurrency: int
    accelerators: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyInfo:
    """What a process says of itself once it serves.

    `accelerator` is the one in effect (`metal`, `cuda`, `vulkan`, `cpu`), which may differ from
    the one asked for.
    """

    accelerator: str
    languages: frozenset[str]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarted:
    """Which process id runs the chunk, so that an overrun ends only that worker.

    None: the process that was launched runs no more than one chunk, and an overrun ends it.
    """

    pid: int | None


EngineEvent = WorkerStarted | LanguageDetected | Segment


class Engine(Protocol):
    """What a plugin provides. Stateless: one instance serves every alias that names it."""

    name: ClassVar[str]
    Options: ClassVar[type[BaseModel]]
    """The alias's options for this engine, validated when the configuration is read."""
    endpoint_kind: ClassVar[EndpointKind]

    def bundled_models(self) -> Mapping[str, Path]:
        """Return models that come with the plugin: alias → file. Usually empty."""
        ...

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch | None:
        """Return the command that serves `model` at `endpoint`, or None: nothing to supervise.

        Raises:
            ConfigurationError: the options cannot work on this machine (no such accelerator).
        """
        ...

    def capabilities(self, options: BaseModel) -> Capabilities:
        """Return what the router may ask for. Pure."""
        ...

    async def is_ready(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
        """Answer one health probe; None while it is loading. Connection errors may escape."""
        ...

    def transcribe(
        self,
        http: aiohttp.ClientSession,
        endpoint: Endpoint,
        chunk: Chunk,
        request: TranscriptionRequest,
    ) -> AsyncIterator[EngineEvent]:
        """Yield the chunk's events as the engine produces them, times relative to the chunk.

        `WorkerStarted` comes first, `LanguageDetected` exactly once and before the first segment
        (also when the request named the language), segments in time order. Closing the iterator
        stops the computation.

        Raises:
            EngineRejected: the engine refused the audio or an option.
            EngineCrashed: the answer ended before it was complete. The chunk is held to be the
                reason: a second time, the audio is refused.
            EngineInterrupted: the same, and the chunk is not the reason: no worker had taken it
                up, or `was_ended_by_others` holds of the worker that had. A process that *is*
                the worker need not be looked after: the router knows how its own children ended.
            EngineOutOfMemory: the engine said that memory ran out.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """A text field of a form."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FormFile:
    """The file of a form. `data` yields its bytes as they arrive.

    `size_bytes` is None while more of it is to come.
    """

    filename: str | None
    content_type: str | None
    size_bytes: int | None
    data: AsyncIterator[bytes]


class RelayedForm(Protocol):
    """A form that may still be arriving, to be sent on to another server."""

    @property
    def task(self) -> Task:
        """Which of the two routes it came in on."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What goes with it."""
        ...

    def parts(self) -> AsyncGenerator[FormField | FormFile, None]:
        """Yield the parts, from the first one, each time this is called; waits for what is to come.

        Raises what broke the upload.
        """
        ...

    async def complete(self) -> None:
        """Return once all of it has arrived. Raises what broke the upload."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedAnswer:
    """What another server answers with status 200. `body` raises `EngineCrashed` if it breaks off.

    Events (`is_stream`) are to be passed on as they come.
    """

    content_type: str
    is_stream: bool
    body: AsyncGenerator[bytes, None]


@runtime_checkable
class RemoteEngine(Protocol):
    """What a plugin provides besides if its work is done by servers that are not ours.

    `launch` returns None, and the model it gets is an empty file: no weights are needed here.
    """

    def endpoints(self, options: BaseModel) -> Sequence[Endpoint]:
        """Return each server. They share `Capabilities.concurrency` equally. Pure.

        What `is_ready` and `transcribe` get is one of these, so it may carry more.
        """
        ...

    def takes_forms(self, options: BaseModel) -> bool:
        """Tell whether uploads are to be sent on as they are, instead of as chunks. Pure."""
        ...

    def wants_whole_forms(self, options: BaseModel) -> bool:
        """Tell whether uploads are sent on only when all of them is here. Pure."""
        ...

    def relay(
        self, http: aiohttp.ClientSession, endpoint: Endpoint, form: RelayedForm
    ) -> AbstractAsyncContextManager[RelayedAnswer]:
        """Send a form on while it arrives; hold the connection until the block ends.

        Raises:
            EngineInterrupted: nothing was sent.
            EngineCrashed: the connection broke before the answer began.
            EngineTimeout: the server has been silent for too long.
            UpstreamRefused: it answered with an error.
        """
        ...


@runtime_checkable
class ProbingEngine(Protocol):
    """What a plugin may provide besides: a look at the machine, for `whisper-router doctor`."""

    async def probe(self) -> Mapping[str, str]:
        """Return what the engine finds here, as short texts by name: version, accelerators…

        Raises:
            EngineStartFailed: the engine's program does not run here; the message says why.
        """
        ...
