"""One engine process and its life cycle; the only writer of its state.

Callers change the state *synchronously*, a task owned by the process does the slow part, and
callers wait for the state, so any of them may leave at any time. Late work carries its own `Run`
and so can never touch the next one.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Final

import structlog

from whisper_router.engine_api import ReadyInfo
from whisper_router.errors import (
    ConfigurationError,
    EngineCrashed,
    EngineError,
    EngineStartFailed,
    EngineStartInterrupted,
    InsufficientMemory,
    RouterError,
    ShuttingDown,
)
from whisper_router.metrics import LOAD_SECONDS, START_FAILURES
from whisper_router.supervisor import proctable
from whisper_router.supervisor.connection import Connection
from whisper_router.supervisor.machine import Event, State, advance
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.output import OutputRing
from whisper_router.supervisor.run import (
    FIRST_PAUSE_S,
    UNKILLABLE_S,
    Blueprint,
    PortTaken,
    Run,
    Surroundings,
)

PORT_ATTEMPTS: Final = 3
NO_FAILURES: Final = (EngineStartInterrupted, InsufficientMemory)
"""Starts that did not happen for reasons that are not the engine's."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Incarnation:
    """A run, and what was decided about it."""

    run: Run
    attempt: int
    starting: asyncio.Task[None] | None = None
    is_lost: bool = False
    cause: RouterError | None = None
    """Why it is lost; None when the child ended by itself."""
    is_unwanted: bool = False
    """Somebody asked for its end: no retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrival:
    """A state that was entered, and the failure of the start that led to it."""

    state: State
    failure: RouterError | None


class EngineProcess:
    """Starts, watches and stops one engine.

    `on_change` is called synchronously within each change of state and must not call back.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        surroundings: Surroundings,
        *,
        options: SupervisionOptions,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.alias = blueprint.alias
        self.state = State.STOPPED
        self.starts = 0
        self.crashes = 0
        self.failed_starts = 0
        """How often it did not start, although nobody ended it and its model was there."""
        self.start_failure: RouterError | None = None
        """Why the last start failed; None while it has not."""
        self.last_error: str | None = None
        self._blueprint, self._surroundings = blueprint, surroundings
        self._options, self._on_change = options, on_change
        self._now = _Incarnation(run=self._new_run(), attempt=0)
        self._waiters: list[tuple[frozenset[State], asyncio.Future[_Arrival]]] = []
        self._is_closing = False
        self._crashed: OutputRing | None = None

    # What it is now: for reports, or for a decision with no await in between.

    @property
    def pid(self) -> int | None:
        """The leader's process id while there is a child."""
        return self._now.run.pid

    @property
    def ready(self) -> ReadyInfo | None:
        """What the engine said of itself when it became ready, while it is."""
        return self._now.run.ready if self.state is State.READY else None

    def serving(self) -> Connection | None:
        """Return the way to the engine if it serves at this very moment.

        The system is asked, so that an end which the event loop has not heard of yet counts.
        """
        run = self._now.run
        is_alive = self.state is State.READY and run.child is not None and run.child.check()
        return run.connection if is_alive else None

    def output(self) -> OutputRing | None:
        """Return what the current child prints, or the last one has printed; None before any."""
        child = self._now.run.child
        return child.output if child is not None else None

    def outputs(self) -> list[OutputRing]:
        """Return the same, after what the child that crashed last had to say, if one did.

        The next one is started so soon that nobody could read it otherwise.
        """
        rings = dict.fromkeys((self._crashed, self.output()))
        return [ring for ring in rings if ring is not None]

    async def family(self) -> list[proctable.Row]:
        """Return the process, its workers and whatever else they started."""
        return await self._now.run.family()

    # What can be asked of it.

    def start(self) -> None:
        """Begin to start, unless it is on its way or there already. Never waits.

        Raises:
            ShuttingDown: it is closed for good.
        """
        if self._is_closing:
            raise ShuttingDown("The server is shutting down.")
        if self.state is State.STOPPED:
            self._begin(Event.START, attempt=1)

    def begin_stop(self) -> None:
        """Begin to stop, unless it is on its way or there already. Never waits."""
        self._now.is_unwanted = True
        if self.state in (State.STARTING, State.READY):
            self._leave(Event.STOP)

    def discard(self, reason: str) -> None:
        """End a process that must not be used any more, as if it had crashed. Never waits."""
        self._lose(self._now, EngineCrashed(f"Model '{self.alias}' was ended: {reason}"))

    def kill(self) -> None:
        """Kill the whole group now, without grace; the state follows."""
        self._now.run.kill()

    async def ensure_ready(self) -> None:
        """Return once the engine serves; start it if needed.

        Raises:
            EngineStartFailed: it ended or stayed silent before it was ready, or was stopped.
            ShuttingDown: the router is stopping.
            RouterError: what the blueprint's `model` raised.
        """
        while self.state is State.STOPPING:  # who comes during a stop gets a fresh process
            await self.wait_for(State.STOPPED, State.STARTING, State.CLOSED)
        self.start()
        arrival = await self._arrival(State.READY, State.STOPPED, State.CLOSED)
        if arrival.state is not State.READY:
            if self._is_closing:
                raise ShuttingDown("The server is shutting down.")
            raise arrival.failure or EngineStartFailed(
                f"Model '{self.alias}' was stopped while it was starting."
            )

    async def stop(self) -> None:
        """Stop: SIGTERM to the group, grace, SIGKILL, reap. Nothing to do when stopped."""
        self.begin_stop()
        if self.state is State.STOPPING:
            await self.wait_for(State.STOPPED, State.CLOSED)

    async def close(self) -> None:
        """Stop for good."""
        self._is_closing = True
        while self.state is not State.CLOSED:
            await self.stop()
            if self.state is State.STOPPED:
                self._step(Event.CLOSE)

    async def wait_for(self, *states: State) -> State:
        """Return which of the states was entered first, even if it was left again at once."""
        return (await self._arrival(*states)).state

    async def is_settled(self, connection: Connection, *, timeout_s: float) -> bool:
        """Tell whether the run behind `connection` answers a probe or is known to have ended.

        After a broken answer a process may be dying without the system saying so yet; whoever
        asks here first will not be sent to it again.
        """
        now = self._now
        with contextlib.suppress(TimeoutError, PortTaken):
            async with asyncio.timeout(timeout_s):
                while now.run.connection is connection and self._is(now, State.READY):
                    if self.serving() is not None and await now.run.probe():
                        break
                    await asyncio.sleep(FIRST_PAUSE_S)
                return True
        return False

    # How it is done. A state is changed only where it has just been looked at.

    def _is(self, incarnation: _Incarnation, *states: State) -> bool:
        return self._now is incarnation and self.state in states

    def _new_run(self) -> Run:
        return Run(self._blueprint, self._surroundings, options=self._options, on_exit=self._exited)

    def _begin(self, event: Event, *, attempt: int) -> None:
        self.starts += 1
        self.start_failure = None
        now = self._now = _Incarnation(run=self._new_run(), attempt=attempt)
        self._step(event)
        now.starting = self._spawn(self._start(now), name="start")

    def _leave(self, event: Event) -> None:
        self._step(event)
        # Whose request once started it has nothing to do with its end.
        self._spawn(self._end(self._now), name="end", context=Context())

    def _spawn(
        self, coro: Coroutine[None, None, None], *, name: str, context: Context | None = None
    ) -> asyncio.Task[None]:
        return self._surroundings.tasks.spawn(coro, name=f"{name} {self.alias}", context=context)

    def _exited(self, run: Run) -> None:
        if self._now.run is run:
            self._lose(self._now, None)

    def _lose(self, incarnation: _Incarnation, cause: RouterError | None) -> None:
        if self._is(incarnation, State.STARTING, State.READY):
            incarnation.is_lost, incarnation.cause = True, cause
            self._leave(Event.LOST)

    async def _start(self, now: _Incarnation) -> None:
        try:
            ready = await now.run.bring_up()
        except RouterError as error:
            self._lose(now, error)
        except (ConfigurationError, OSError) as error:
            self._lose(now, now.run.start_failed(str(error)))
        except Exception as error:  # an engine plugin may do anything
            self._lose(now, now.run.start_failed(repr(error)))
            log.exception("engine_start_broken", alias=self.alias)
        else:
            if self._is(now, State.STARTING):
                now.run.ready = ready
                self._step(Event.BECAME_READY)
                self._report_ready(now.run)

    async def _end(self, now: _Incarnation) -> None:
        try:
            if now.starting is not None:
                now.starting.cancel()
                await asyncio.wait({now.starting}, timeout=UNKILLABLE_S)
            await now.run.end(grace_s=self._grace_s(now))
            if now.is_lost and now.cause is None:
                now.cause = await now.run.explain_exit()
        except Exception as error:  # noqa: BLE001 - the state must not hang in STOPPING
            log.error("engine_cleanup_failed", alias=self.alias, error=repr(error))  # noqa: TRY400
        self._conclude(now)

    def _grace_s(self, now: _Incarnation) -> float:
        """Return how long a stop may take; one that hangs has had its time."""
        is_hung = now.is_lost and now.cause is not None
        return self._options.worker_grace_s if is_hung else self._options.stop_grace_s

    def _conclude(self, now: _Incarnation) -> None:
        if not now.is_lost:
            self._step(Event.GONE)
        elif isinstance(now.cause, PortTaken) and self._may_retry(now):
            log.warning("engine_port_taken", alias=self.alias, attempt=now.attempt)
            self._begin(Event.RETRY, attempt=now.attempt + 1)
        else:
            self._note_failure(now)
            self._step(Event.GONE)

    def _may_retry(self, now: _Incarnation) -> bool:
        return now.attempt < PORT_ATTEMPTS and not now.is_unwanted and not self._is_closing

    def _note_failure(self, now: _Incarnation) -> None:
        cause = now.cause or now.run.start_failed("its clean-up failed")
        self.last_error = str(cause)
        child = now.run.child
        pid = None if child is None else child.pid  # the kernel's log names it
        if now.run.ready is None:
            self.start_failure = cause
            if isinstance(cause, EngineError) and not isinstance(cause, NO_FAILURES):
                self.failed_starts += 1
            START_FAILURES.labels(self.alias).inc()
            log.error("engine_start_failed", alias=self.alias, pid=pid, reason=self.last_error)
        else:
            self.crashes += 1
            if child is not None:
                self._crashed = child.output
                self._crashed.append(f"process {pid}: {self.last_error}")
            log.error("engine_crashed", alias=self.alias, pid=pid, reason=self.last_error)

    def _report_ready(self, run: Run) -> None:
        LOAD_SECONDS.labels(self.alias).observe(time.monotonic() - run.began_s)
        log.info(
            "engine_ready",
            alias=self.alias,
            pid=run.pid,
            accelerator=run.ready.accelerator if run.ready else None,
            took_s=round(time.monotonic() - run.began_s, 3),
        )

    async def _arrival(self, *states: State) -> _Arrival:
        if self.state in states:
            return _Arrival(state=self.state, failure=self.start_failure)
        future: asyncio.Future[_Arrival] = asyncio.get_running_loop().create_future()
        waiter = (frozenset(states), future)
        self._waiters.append(waiter)
        try:
            return await future
        finally:
            self._waiters.remove(waiter)

    def _step(self, event: Event) -> None:
        self.state = advance(self.state, event)
        arrival = _Arrival(state=self.state, failure=self.start_failure)
        for states, future in self._waiters:
            if self.state in states and not future.done():
                future.set_result(arrival)
        self._on_change()
