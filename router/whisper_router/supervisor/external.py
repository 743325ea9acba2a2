"""Stands where a process would, for a server that is not ours to start or stop."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import structlog

from whisper_router.engine_api import Endpoint, ReadyInfo
from whisper_router.errors import EngineStartFailed, RouterError
from whisper_router.supervisor import proctable
from whisper_router.supervisor.connection import Connection, open_session
from whisper_router.supervisor.machine import State
from whisper_router.tasks import Tasks

IsReady = Callable[[aiohttp.ClientSession, Endpoint], Awaitable[ReadyInfo | None]]

CHECK_EVERY_S: Final = 10.0
"""How often a server is asked whether it is there."""
CHECK_TIMEOUT_S: Final = 5.0
FAILURES_IN_A_ROW: Final = 3
"""So many broken answers put a server aside although it says that it is there."""
FIRST_REST_S: Final = 5.0
LONGEST_REST_S: Final = 300.0
"""How long it is put aside: the first time, and at most, doubling in between."""
DOUBLINGS: Final = 16

log = structlog.get_logger(__name__)


class External:
    """One server: asked regularly whether it is there, and put aside while it is not.

    To start it is to ask it. It is put aside (`STOPPED`) when it does not answer that question, or
    breaks off `FAILURES_IN_A_ROW` answers, and comes back by itself. See `process.EngineProcess`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        alias: str,
        tasks: Tasks,
        is_ready: IsReady,
        on_change: Callable[[], None] = lambda: None,
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self.alias = alias
        self.state = State.STOPPED
        self.starts = 0
        self.crashes = 0
        """How often it was put aside after it had served."""
        self.failed_starts = 0
        self.start_failure: RouterError | None = None
        self.last_error: str | None = None
        self.pid = None
        self.ready: ReadyInfo | None = None
        self._is_ready, self._on_change, self._every_s = is_ready, on_change, check_every_s
        self._connection = Connection(endpoint, open_session(endpoint), tasks=tasks)
        self._tasks = tasks
        self._watch: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self.failures = 0
        """How many answers it broke off in a row, since it was last asked whether it is there."""
        self._rests = 0

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connection.endpoint.url

    def serving(self) -> Connection | None:
        """Return the session for it, unless it is put aside."""
        return self._connection if self.state is State.READY else None

    def start(self) -> None:
        """Ask at once whether it is there, unless it serves already."""
        if self.state is not State.STOPPED:
            return
        self.start_failure = None
        self._enter(State.STARTING)
        self._hurry.set()
        if self._watch is None or self._watch.done():
            self._watch = self._tasks.spawn(self._look_after(), name=f"watch {self.alias}")

    def begin_stop(self) -> None:
        """Ask no more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self.state in (State.STARTING, State.READY):
            self.ready = None
            self._enter(State.STOPPED)

    def discard(self, reason: str) -> None:
        """Do nothing: it may work for others."""

    def kill(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Ask no more."""
        self.begin_stop()

    async def close(self) -> None:
        """Ask no more, and close the session once nobody uses it."""
        self.begin_stop()
        self.state = State.CLOSED
        await self._connection.retire()

    def note_success(self) -> None:
        """Take note that it gave a whole answer."""
        self.failures = self._rests = 0

    async def is_settled(self, connection: Connection, *, timeout_s: float) -> bool:
        """Look into a broken answer: put the server aside if it is gone, or did so repeatedly."""
        self.failures += 1
        if self.state is not State.READY:
            return True
        if self.failures >= FAILURES_IN_A_ROW:
            self._put_aside(f"{self.url} broke off {self.failures} answers in a row.")
        elif (failure := await self._failure(min(timeout_s, CHECK_TIMEOUT_S))) is not None:
            self._put_aside(failure)
        return True

    async def family(self) -> list[proctable.Row]:
        """Return no process."""
        return []

    def output(self) -> None:
        """Return nothing."""

    async def _look_after(self) -> None:
        while True:
            self._hurry.clear()
            failure = await self._failure(CHECK_TIMEOUT_S)
            if failure is not None:
                self._put_aside(failure)
            elif self.state is State.READY:
                self.failures = 0  # it may be tried again
            else:
                self._come_back()
            await self._pause()

    async def _pause(self) -> None:
        rest_s = min(FIRST_REST_S * 2.0 ** max(0, self._rests - 1), LONGEST_REST_S)
        wait_s = self._every_s if self.state is State.READY else rest_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()

    async def _failure(self, timeout_s: float) -> str | None:
        """Ask whether it is there; return what is wrong."""
        connection = self._connection
        try:
            async with asyncio.timeout(timeout_s):
                info = await self._is_ready(connection.http, connection.endpoint)
        except TimeoutError:
            return f"{self.url} did not answer within {timeout_s:g} s."
        except RouterError as error:
            return str(error)
        except OSError as error:
            return f"{self.url} cannot be reached: {error.strerror or error}"
        except aiohttp.ClientError as error:
            return f"{self.url} did not answer properly: {error}"
        if info is None:
            return f"{self.url} is not ready."
        self.ready = info
        return None

    def _come_back(self) -> None:
        self.failures = 0
        self.starts += 1
        self.start_failure = None
        log.info("upstream_ready", alias=self.alias, url=self.url)
        self._enter(State.READY)

    def _put_aside(self, reason: str) -> None:
        if self.state is State.READY:
            self.crashes += 1
            log.warning("upstream_put_aside", alias=self.alias, url=self.url, reason=reason)
        self._rests = min(self._rests + 1, DOUBLINGS)
        self.ready = None
        self.last_error = reason
        self.start_failure = EngineStartFailed(f"Model '{self.alias}': {reason}")
        if self.state is State.STARTING:
            self.failed_starts += 1
        if self.state is not State.STOPPED:
            self._enter(State.STOPPED)

    def _enter(self, state: State) -> None:
        self.state = state
        self._on_change()
