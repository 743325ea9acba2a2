"""One incarnation of an engine process: from its endpoint to its last trace.

A run does; `process.EngineProcess` decides. Nothing here knows the state.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from whisper_router.engine_api import (
    Endpoint,
    EndpointKind,
    Launch,
    ReadyInfo,
    was_ended_by_others,
)
from whisper_router.errors import (
    EngineCrashed,
    EngineError,
    EngineStartFailed,
    EngineStartInterrupted,
    EngineStartOutOfMemory,
)
from whisper_router.supervisor import proctable
from whisper_router.supervisor.budgets import MemoryBudgets
from whisper_router.supervisor.child import Child
from whisper_router.supervisor.connection import Connection, open_session
from whisper_router.supervisor.exits import (
    describe_exit,
    missing_cpu_features,
    says_that_memory_ran_out,
)
from whisper_router.supervisor.guard import START_VARIABLE, RunDirectory, kill_marked
from whisper_router.supervisor.listeners import (
    LOOPBACK,
    Listener,
    free_port,
    is_taken,
    who_listens,
)
from whisper_router.supervisor.oom import VMSTAT, oom_kills
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.patience import Patience, Vitals
from whisper_router.tasks import Tasks

FIRST_PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 0.1
SAMPLE_EVERY_S: Final = 0.5
UNKILLABLE_S: Final = 10.0
"""How long the kernel may take to end a killed process (one that hangs in a driver never ends)."""
REPORTED_LINES: Final = 3
MEMORY_LINES: Final = 20
"""So many of its last lines may say that memory ran out."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What a process is made from.

    `model` fetches the weights if need be; what it raises of ours goes to the waiters as it is.
    `launch` is pure. `is_ready` is one health probe.
    """

    alias: str
    endpoint_kind: EndpointKind
    model: Callable[[], Awaitable[Path]]
    launch: Callable[[Path, Endpoint], Launch]
    is_ready: Callable[[aiohttp.ClientSession, Endpoint], Awaitable[ReadyInfo | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all processes of a router share.

    `memory` lets them start; `vmstat` is where the kernel counts what it kills; `child_files` is
    how many descriptors each may have, None: as many as the router.
    """

    runs: RunDirectory
    tasks: Tasks
    vmstat: Path = VMSTAT
    memory: MemoryBudgets = field(default_factory=MemoryBudgets)
    child_files: int | None = None


class PortTaken(EngineStartFailed):
    """Another program has the port that was meant for the engine."""


class Run:
    """A child program with its endpoint, session and record."""

    def __init__(
        self,
        blueprint: Blueprint,
        surroundings: Surroundings,
        *,
        options: SupervisionOptions,
        on_exit: Callable[["Run"], None],
    ) -> None:
        self.began_s = time.monotonic()
        self.connection: Connection | None = None
        self.child: Child | None = None
        self.ready: ReadyInfo | None = None
        """Set by the owner when it declares the run ready."""
        self._blueprint, self._options, self._on_exit = blueprint, options, on_exit
        self._runs, self._tasks = surroundings.runs, surroundings.tasks
        self._start_id = secrets.token_hex(8)
        self._recorded: asyncio.Future[None] | None = None
        self._child_files = surroundings.child_files
        self._vmstat, self._oom_kills = surroundings.vmstat, 0

    @property
    def pid(self) -> int | None:
        """The leader's process id while it runs."""
        return self.child.pid if self.child and not self.child.exited.is_set() else None

    async def bring_up(self) -> ReadyInfo:
        """Start the child and return what it says of itself once it is ready.

        Raises:
            EngineStartFailed: it stayed silent for too long.
            PortTaken: a stranger listens on its port.
            OSError: there is no such program.
            RouterError: what the blueprint's `model` raised.
        """
        model = await self._blueprint.model()
        self._oom_kills = await asyncio.to_thread(oom_kills, self._vmstat)
        endpoint = await self._new_endpoint()
        launch = self._blueprint.launch(model, endpoint)
        self.connection = Connection(endpoint, open_session(endpoint), tasks=self._tasks)
        self.child = Child(
            launch.argv,
            self._runs.environment(launch.env, self._start_id),
            on_exit=self._note_exit,
            files=self._child_files,
        )
        await self._record(self.child.pid, endpoint.socket)
        ready = await self._until_ready(self.child)
        self.child.output.forget_error()  # whatever it was, it serves
        return ready

    async def probe(self) -> ReadyInfo | None:
        """Ask once whether it is ready. The answers of strangers do not count.

        Raises:
            PortTaken: a stranger listens on the engine's port.
        """
        if self.connection is None or not await self._is_reachable(self.connection.endpoint):
            return None
        try:
            async with asyncio.timeout(self._options.probe_timeout_s):
                return await self._blueprint.is_ready(
                    self.connection.http, self.connection.endpoint
                )
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def family(self) -> list[proctable.Row]:
        """Return the process, its workers and whatever else they started."""
        if (leader := self.pid) is None:
            return []
        return await asyncio.to_thread(lambda: proctable.family(leader, proctable.read_table()))

    def kill(self) -> None:
        """Kill the whole group now, without grace."""
        self._interrupt()
        if self.child is not None:
            self.child.signal(signal.SIGKILL)

    async def end(self, *, grace_s: float) -> None:
        """Stop what runs: SIGTERM to the group, grace, SIGKILL; remove every trace."""
        self._interrupt()
        try:
            if self.child is not None:
                await self._terminate(self.child, grace_s)
            await self._clear()
        finally:
            self.kill()  # also when this very call is cancelled
            if self.child is not None:
                self.child.close_pipes()

    async def explain_exit(self) -> EngineError:
        """Say why the child ended unasked, once it is gone and all its output is in."""
        if self.child is None or self.child.code is None:
            return self.start_failed("it ended")
        missing = await asyncio.to_thread(missing_cpu_features)
        ended = describe_exit(self.child.code, missing=missing)
        if self.ready is not None:
            # Its other last lines may hold what it heard: those go nowhere.
            reason = f": {self.child.output.error}" if self.child.output.error else ""
            return EngineCrashed(f"Model '{self._blueprint.alias}' crashed: {ended}{reason}")
        if (port := self._lost_port()) is not None:
            return PortTaken(self._text(f"port {port} was taken by another program ({ended})"))
        if self.child.code != 0 and was_ended_by_others(self.child.code):
            return await self._start_ended(ended)
        if says_that_memory_ran_out(self.child.output.tail(MEMORY_LINES)):
            return EngineStartOutOfMemory(self._text(f"{ended}{self._last_words()}"))
        return self.start_failed(f"{ended}{self._last_words()}")

    async def _start_ended(self, ended: str) -> EngineStartFailed:
        """Return the error for a start that was killed: by somebody, or for want of memory."""
        if await asyncio.to_thread(oom_kills, self._vmstat) > self._oom_kills:
            reason = f"{ended}, while memory ran out{self._last_words()}"
            return EngineStartOutOfMemory(self._text(reason))
        return EngineStartInterrupted(self._text(f"{ended}{self._last_words()}"))

    def _note_exit(self) -> None:
        if self.child is not None and self.child.code is not None and self.connection is not None:
            self.connection.is_interrupted |= was_ended_by_others(self.child.code)
        self._on_exit(self)

    def _interrupt(self) -> None:
        """Remember that it is ended on purpose, unless it has ended already."""
        if self.pid is not None and self.connection is not None:
            self.connection.is_interrupted = True

    def start_failed(self, reason: str) -> EngineStartFailed:
        """Return the error for a start that failed for this reason."""
        return EngineStartFailed(self._text(reason))

    def _text(self, reason: str) -> str:
        return f"Model '{self._blueprint.alias}' could not be started: {reason}"

    async def _new_endpoint(self) -> Endpoint:
        if self._blueprint.endpoint_kind is EndpointKind.UNIX:
            socket = self._runs.new_socket()
            return Endpoint(kind=EndpointKind.UNIX, url="http://engine", socket=socket)
        port = await asyncio.to_thread(free_port)
        return Endpoint(kind=EndpointKind.TCP, url=f"http://{LOOPBACK}:{port}")

    async def _record(self, pid: int, socket: Path | None) -> None:
        loop = asyncio.get_running_loop()
        self._recorded = loop.run_in_executor(
            None, lambda: self._runs.record(pid, alias=self._blueprint.alias, socket=socket)
        )
        await asyncio.shield(self._recorded)  # a thread cannot be cancelled: `_clear` waits for it

    async def _until_ready(self, child: Child) -> ReadyInfo:
        patience = Patience(
            now_s=time.monotonic(),
            silence_s=self._options.start_silence_s,
            limit_s=self._options.start_limit_s,
        )
        pause_s, sampled_s = FIRST_PAUSE_S, time.monotonic()
        while (info := await self.probe()) is None:
            if time.monotonic() - sampled_s >= min(SAMPLE_EVERY_S, patience.silence_s / 4):
                sampled_s = time.monotonic()
                patience.hear(await self._vitals(child), now_s=sampled_s)
            if reason := patience.verdict(now_s=time.monotonic()):
                raise self.start_failed(f"{reason}{self._last_words()}")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
        return info

    async def _vitals(self, child: Child) -> Vitals:
        rows = await self.family()
        return Vitals(
            cpu_s=sum(row.cpu_s for row in rows),
            rss_bytes=sum(row.rss_bytes for row in rows),
            output_bytes=child.output.received_bytes,
        )

    async def _is_reachable(self, endpoint: Endpoint) -> bool:
        if endpoint.kind is EndpointKind.UNIX:
            return True  # in a private directory, under a name that is new
        if self.child is None:
            return False
        port = _port(endpoint)
        listener = await asyncio.to_thread(who_listens, port, self.child.pid)
        if listener is Listener.STRANGER:
            raise PortTaken(self._text(f"port {port} was taken by another program"))
        return listener is Listener.OURS

    def _lost_port(self) -> int | None:
        """Return our port if somebody else has it now."""
        if self.connection is None or self.connection.endpoint.kind is EndpointKind.UNIX:
            return None
        port = _port(self.connection.endpoint)
        return port if is_taken(port) else None

    async def _terminate(self, child: Child, grace_s: float) -> None:
        child.signal(signal.SIGTERM)
        if not await child.wait(timeout_s=grace_s):
            log.warning("engine_ignores_sigterm", alias=self._blueprint.alias, pid=child.pid)
            child.signal(signal.SIGKILL)
            if not await child.wait(timeout_s=UNKILLABLE_S):
                log.error("engine_unkillable", alias=self._blueprint.alias, pid=child.pid)
        await asyncio.to_thread(kill_marked, START_VARIABLE, self._start_id)
        await child.drain()

    async def _clear(self) -> None:
        if self._recorded is not None:
            await asyncio.wait({self._recorded}, timeout=UNKILLABLE_S)
        if self.connection is None:
            return
        await self.connection.retire()
        if self.child is not None:
            socket = self.connection.endpoint.socket
            await asyncio.to_thread(self._runs.forget, self.child.pid, socket=socket)

    def _last_words(self) -> str:
        """Return `: what it said last`, or nothing if it said nothing."""
        if self.child is None:
            return ""
        output = self.child.output
        words = output.error or " | ".join(output.tail(REPORTED_LINES))
        return f": {words}" if words else ""


def _port(endpoint: Endpoint) -> int:
    return int(endpoint.url.rpartition(":")[2])
