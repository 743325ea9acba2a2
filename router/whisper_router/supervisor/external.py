"""Stands where a process would, for a server that is not ours to start or stop."""

import asyncio
import contextlib
import errno
import time
from collections.abc import Awaitable, Callable
from typing import Final

import aiohttp
import structlog

from whisper_router.engine_api import Endpoint, ReadyInfo
from whisper_router.errors import EngineStartFailed, RouterError
from whisper_router.supervisor import proctable
from whisper_router.supervisor.connection import Connection, open_session
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.output import OutputRing
from whisper_router.supervisor.standing import Standing
from whisper_router.tasks import Tasks

IsReady = Callable[[aiohttp.ClientSession, Endpoint], Awaitable[ReadyInfo | None]]

CHECK_EVERY_S: Final = 10.0
"""How often a server is asked whether it is there."""
CHECK_TIMEOUT_S: Final = 5.0
SILENT_CHECKS: Final = 3
"""So many in a row without an answer put a server aside that has work: it may just be busy."""

NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})

log = structlog.get_logger(__name__)


class External:
    """One server: asked regularly whether it is there, and put aside while it is not.

    To start it is to ask it. It is put aside (`STOPPED`) when it does not answer that question, or
    breaks off answers (`standing`), and comes back by itself. See `process.EngineProcess`.
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
        self.standing = Standing()
        self._is_ready, self._on_change, self._every_s = is_ready, on_change, check_every_s
        self._connection = Connection(endpoint, open_session(endpoint), tasks=tasks)
        self._tasks = tasks
        self._watch: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._silent_checks = 0

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connection.endpoint.url

    def serving(self) -> Connection | None:
        """Return the session for it, unless it is put aside."""
        return self._connection if self.state is State.READY else None

    def is_resting(self) -> bool:
        """Tell whether it is put aside and should not be asked yet while others serve."""
        return self.standing.is_resting(now_s=time.monotonic())

    def start(self) -> None:
        """Ask at once whether it is there, unless it serves already."""
        if self.state is not State.STOPPED:
            return
        self.start_failure = None
        self._enter(State.STARTING)
        self._hurry.set()
        if self._watch is None or self._watch.done():
            self._begin_watch()

    def begin_stop(self) -> None:
        """Ask no more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self.state in (State.STARTING, State.READY):
            self._enter(State.STOPPED)

    def discard(self, reason: str) -> None:
        """Do nothing: it may work for others."""

    def kill(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Interrupt what it does for us, and ask no more."""
        self._connection.lose()
        self.begin_stop()

    async def close(self) -> None:
        """Ask no more, and close the session once nobody uses it."""
        self.begin_stop()
        self.state = State.CLOSED
        await self._connection.retire()

    def note_success(self) -> None:
        """Take note that it gave a whole answer."""
        self.standing.succeed()

    def hold_off(self, seconds: float) -> None:
        """Have others asked before it for so long: it has too much to do."""
        self.standing.hold_off(time.monotonic() + seconds)
        asyncio.get_running_loop().call_later(seconds, self._tell)

    async def is_settled(self, connection: Connection, *, timeout_s: float) -> bool:
        """Look into a broken answer: put the server aside if it is gone, or did so repeatedly."""
        pause_s = self.standing.fail(now_s=time.monotonic())
        asyncio.get_running_loop().call_later(pause_s, self._tell)
        if self.standing.is_lost and self.state is State.READY:
            self._put_aside(f"{self.url} broke off {self.standing.failures} answers in a row.")
        elif self.state is State.READY:
            failure = await self._failure(min(timeout_s, CHECK_TIMEOUT_S))
            if failure is not None and self.state is State.READY:
                self._put_aside(failure, is_gone=True)
        if self.state is State.STOPPED and self._watch is not None:
            self._watch.cancel()  # it may have meant to look again much later
            self._begin_watch(after_rest=True)
        return True

    async def family(self) -> list[proctable.Row]:
        """Return no process."""
        return []

    def outputs(self) -> list[OutputRing]:
        """Return nothing."""
        return []

    def _begin_watch(self, *, after_rest: bool = False) -> None:
        watch = self._look_after(after_rest=after_rest)
        self._watch = self._tasks.spawn(watch, name=f"watch {self.alias}")

    async def _look_after(self, *, after_rest: bool) -> None:
        if after_rest:
            await self._pause()
        while True:
            self._hurry.clear()
            failure = await self._failure(CHECK_TIMEOUT_S)
            if failure is None:
                self._silent_checks = 0
                if self.state is State.READY:
                    self.standing.forgive(now_s=time.monotonic())
                else:
                    self._come_back()
            elif not self._may_just_be_busy():
                self._put_aside(failure, is_gone=True)
            await self._pause()

    def _may_just_be_busy(self) -> bool:
        """Tell whether a check without an answer is to be forgiven. One refused is not."""
        has_work = self.state is State.READY and self._connection.users > 0
        return has_work and 0 < self._silent_checks < SILENT_CHECKS

    async def _pause(self) -> None:
        left_s = self.standing.rest_left_s(now_s=time.monotonic())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._every_s if self.state is State.READY else left_s):
                await self._hurry.wait()

    async def _failure(self, timeout_s: float) -> str | None:
        """Ask whether it is there; return what is wrong."""
        connection = self._connection
        try:
            async with asyncio.timeout(timeout_s):
                info = await self._is_ready(connection.http, connection.endpoint)
        except TimeoutError:
            self._silent_checks += 1
            return f"{self.url} did not answer within {timeout_s:g} s."
        except RouterError as error:
            failure = str(error)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS and self.state is State.READY:
                return None  # that is not its fault
            failure = f"{self.url} cannot be reached: {error.strerror or error}"
        except aiohttp.ClientError as error:
            failure = f"{self.url} did not answer properly: {error}"
        except Exception as error:  # an engine plugin may do anything
            log.exception("upstream_check_broken", alias=self.alias, url=self.url)
            failure = f"{self.url} could not be asked: {type(error).__name__}"
        else:
            if info is not None:
                self.ready = info
                return None
            failure = f"{self.url} is not ready."
        self._silent_checks = 0
        return failure

    def _come_back(self) -> None:
        self.starts += 1
        self.start_failure = None
        log.info("upstream_ready", alias=self.alias, url=self.url)
        self._enter(State.READY)

    def _put_aside(self, reason: str, *, is_gone: bool = False) -> None:
        """Leave it alone for a while. What a server that is gone was doing is given up."""
        if self.state is State.READY:
            self.crashes += 1
            log.warning("upstream_put_aside", alias=self.alias, url=self.url, reason=reason)
        self.standing.rest(now_s=time.monotonic())
        self.last_error = reason
        if is_gone:
            self._connection.lose()
            self.start_failure = EngineStartFailed(f"Model '{self.alias}': {reason}")
        if self.state is State.STARTING:
            self.failed_starts += 1
        if self.state in (State.STARTING, State.READY):
            self._enter(State.STOPPED)

    def _enter(self, state: State) -> None:
        self.state = state
        if state is not State.READY:
            self.ready = None
        self._tell()

    def _tell(self) -> None:
        if self.state is not State.CLOSED:
            self._on_change()
