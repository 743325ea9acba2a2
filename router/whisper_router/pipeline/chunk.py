"""One chunk on a leased worker: its turn, time budget, one more try, results put in place."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import structlog

from whisper_router import tracing
from whisper_router.domain import (
    SAMPLE_RATE_HZ,
    Chunk,
    LanguageDetected,
    Segment,
    TranscriptionRequest,
)
from whisper_router.engine_api import RemoteEngine, WorkerStarted
from whisper_router.errors import (
    AudioRejected,
    EngineCrashed,
    EngineError,
    EngineInterrupted,
    EngineStartInterrupted,
    EngineTimeout,
    UpstreamRefused,
)
from whisper_router.metrics import CHUNKS_LOST
from whisper_router.pipeline.losses import ENDURANCE, Endurance, Losses
from whisper_router.pipeline.merge import place
from whisper_router.pipeline.poison import Poison
from whisper_router.scheduling.dispatch import Dispatcher
from whisper_router.scheduling.fair_queue import Ticket
from whisper_router.supervisor.lease import Lease
from whisper_router.supervisor.oom import VMSTAT, oom_kills

ASSUMED_RTF = 3.0
"""Processing time ÷ audio time while none was measured: slower than any model that is of use."""

LONGEST_REFUSAL_S = 10.0
"""After how long at most a server elsewhere that has too much to do is asked again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkBudget:
    """How long an engine may take: `floor_s + factor × chunk length × measured RTF`."""

    floor_s: float
    factor: float

    def for_chunk(self, chunk: Chunk, rtf: float | None) -> float:
        """Return the seconds allowed for `chunk`. `rtf`: the alias's speed; None: not measured."""
        return self.floor_s + self.factor * chunk.duration_s * (ASSUMED_RTF if rtf is None else rtf)


class ChunkRunner:
    """Runs the chunks of one request on the workers of one alias."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        budget: ChunkBudget,
        poison: Poison,
        *,
        began: Callable[[], None] | None = None,
        endurance: Endurance = ENDURANCE,
        vmstat: Path = VMSTAT,
    ) -> None:
        """`began` is called whenever a chunk has got its worker."""
        self._dispatcher, self._budget, self._poison = dispatcher, budget, poison
        self._endurance, self._vmstat = endurance, vmstat
        self._began, self._has_begun = began, False
        self._is_remote = isinstance(dispatcher.pool.spec.engine, RemoteEngine)

    async def run(
        self, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncGenerator[LanguageDetected | Segment, None]:
        """Yield the language once, then segments on the timeline of the request's audio.

        After a crash or a hang the chunk runs once more on a fresh worker; what was yielded before
        is not yielded again. Should the second run hear it otherwise, the chunk is run from where
        the yielded text ends. After the second failure its audio is refused for a while. An attempt
        that somebody else has ended says nothing about the audio: it is made again, many times.

        Raises:
            AudioRejected: the engine crashed twice on this chunk, now or a short while ago.
            EngineTimeout: it took longer than its budget twice.
            EngineCrashed: it was ended by others each time, as often as `Endurance` allows.
            EngineError: it could not start, or refused the chunk.
            QueueFull, QueueTimeout: there was no worker for it.
        """
        if await self._poison.holds(self._dispatcher.pool.alias, chunk):
            raise AudioRejected(_refusal(chunk))
        given, losses = _Given(chunk), Losses(self._endurance)
        while (rest := given.rest) is not None:
            began_s = time.monotonic()
            try:
                async with aclosing(self._attempt(rest, given.asked(request))) as events:
                    async for event in events:
                        if (fresh := given.fresh(event)) is not None:
                            yield fresh
            except (EngineInterrupted, EngineStartInterrupted) as error:
                may_go_on = losses.interrupt(now_s=time.monotonic())
                self._report("chunk_interrupted", losses.interruptions, error)
                if not may_go_on:
                    raise EngineCrashed(_surrender(chunk, losses)) from error
                await asyncio.sleep(losses.pause_s(time.monotonic() - began_s))
                given.start_again()
            except UpstreamRefused as error:
                await _wait_out(error, losses)
                given.start_again()
            except (EngineCrashed, EngineTimeout) as error:
                may_go_on = losses.fail()
                self._report("chunk_lost", losses.failures, error)
                if not may_go_on:
                    await self._give_up(chunk, error)
                given.start_again()
            except _HeardOtherwiseError:
                log.info("chunk_heard_otherwise", alias=request.model)
                given.go_on()
            else:
                return

    def _report(self, event: str, times: int, error: EngineError) -> None:
        reason = event.removeprefix("chunk_")
        CHUNKS_LOST.labels(self._dispatcher.pool.alias, reason).inc()
        log.warning(event, alias=self._dispatcher.pool.alias, times=times, reason=str(error))

    async def _give_up(self, chunk: Chunk, error: EngineCrashed | EngineTimeout) -> NoReturn:
        if self._is_remote:
            raise error  # whatever went wrong there says little of the audio
        await self._poison.add(self._dispatcher.pool.alias, chunk)
        if isinstance(error, EngineTimeout):
            raise error
        raise AudioRejected(_rejection(chunk)) from error

    async def _attempt(
        self, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncGenerator[LanguageDetected | Segment, None]:
        ticket, kills = replace(_ticket(chunk, request), has_begun=self._has_begun), None
        try:
            async with self._dispatcher.lease(ticket) as lease:
                self._has_begun = True
                if self._began is not None:
                    self._began()
                kills = await asyncio.to_thread(oom_kills, self._vmstat)
                with _noted(chunk, request) as trace:
                    traced = replace(request, trace=trace) if trace else request
                    async with aclosing(self._timed(lease, chunk, traced)) as events:
                        async for event in events:
                            yield event
        except EngineInterrupted as error:  # the kernel's SIGKILL looks like anybody's
            if kills is not None and await asyncio.to_thread(oom_kills, self._vmstat) > kills:
                raise EngineCrashed(f"{error} Memory ran out meanwhile.") from error
            raise

    def _budget_s(self, chunk: Chunk) -> float | None:
        """Return the time allowed; a server elsewhere may have others' work to do first."""
        return None if self._is_remote else self._budget.for_chunk(chunk, self._dispatcher.rtf)

    async def _timed(
        self, lease: Lease, chunk: Chunk, request: TranscriptionRequest
    ) -> AsyncGenerator[LanguageDetected | Segment, None]:
        """Yield what the engine hears within the budget; end the worker after it."""
        budget_s = self._budget_s(chunk)
        worker, is_taken_up = None, False
        try:
            async with (
                asyncio.timeout(budget_s),
                lease.unless_lost(),
                aclosing(_events(lease, chunk, request)) as events,
            ):
                async for event in events:
                    if isinstance(event, WorkerStarted):
                        worker, is_taken_up = event.pid, True
                        if worker is not None:
                            self._dispatcher.pool.took_up(lease, worker)
                    else:
                        yield event
        except TimeoutError as error:
            log.warning("chunk_timed_out", alias=request.model, worker=worker, budget_s=budget_s)
            if worker is None:
                reason = "it overran its time" if is_taken_up else "it did not take up its work"
                self._dispatcher.pool.distrust(lease, reason)
            else:
                await self._dispatcher.pool.kill_worker(lease, worker)
            raise EngineTimeout(
                f"The engine of model '{request.model}' did not finish {_stretch(chunk)} "
                f"within {budget_s or 0:.0f} s (supervision.chunk_timeout_s)."
            ) from error


async def _wait_out(error: UpstreamRefused, losses: Losses) -> None:
    """Wait until a server elsewhere may have the time. Raises the error if that is in vain."""
    if not error.is_elsewhere_better or not losses.refuse():
        raise error
    await asyncio.sleep(min(error.retry_after_s or 1.0, LONGEST_REFUSAL_S))


@contextmanager
def _noted(chunk: Chunk, request: TranscriptionRequest) -> Iterator[Mapping[str, str]]:
    """Log the beginning and the end of an attempt, with the request's id, and have it be traced.

    Yields the headers for an engine that takes part in the trace.
    """
    told = log.bind(
        request_id=request.request_id,
        alias=request.model,
        at_s=round(chunk.start_s, 3),
        audio_s=round(chunk.duration_s, 3),
    )
    began_s, how = time.monotonic(), "broken_off"
    told.debug("chunk_began")
    span = tracing.begin(
        "chunk",
        alias=request.model,
        request_id=request.request_id,
        at_s=chunk.start_s,
        audio_seconds=chunk.duration_s,
    )
    try:
        with span, tracing.begin("engine", kind=tracing.Kind.CLIENT, parent=span) as engine:
            yield engine.headers()
        how = "done"
    finally:
        told.debug("chunk_ended", how=how, took_s=round(time.monotonic() - began_s, 3))


def _ticket(chunk: Chunk, request: TranscriptionRequest) -> Ticket:
    return Ticket(
        request_id=request.request_id,
        key=request.client.name,
        lane=request.lane,
        weight=request.client.weight,
        cost_s=chunk.duration_s,
    )


async def _events(
    lease: Lease, chunk: Chunk, request: TranscriptionRequest
) -> AsyncGenerator[WorkerStarted | LanguageDetected | Segment, None]:
    events = lease.engine.transcribe(lease.http, lease.endpoint, chunk, request)
    try:
        async for event in events:
            yield event
    finally:
        if isinstance(events, AsyncGenerator):  # the lease must not end before its computation
            await events.aclose()


class _HeardOtherwiseError(Exception):
    """A second run gave other segments than the first one, of which some were yielded."""


class _Given:
    """What was already yielded of a chunk, over all attempts."""

    def __init__(self, chunk: Chunk) -> None:
        self.rest: Chunk | None = chunk
        """What to run next; None when there is nothing left to run."""
        self._limit_s = chunk.start_s + chunk.duration_s
        self._until_s = chunk.start_s
        self._texts: list[str] = []
        """What was yielded since the beginning of `rest`."""
        self._expected: deque[str] = deque()
        self._language: str | None = None

    def asked(self, request: TranscriptionRequest) -> TranscriptionRequest:
        """Return the request with the language that an earlier attempt has found."""
        return replace(request, language=self._language or request.language)

    def start_again(self) -> None:
        """Expect everything from the beginning of `rest` once more."""
        self._expected = deque(self._texts)

    def go_on(self) -> None:
        """Let `rest` begin where the last yielded segment ended."""
        self._texts, self._expected = [], deque()
        if self.rest is not None:
            start = round(self._until_s * SAMPLE_RATE_HZ)
            self.rest = replace(self.rest, start=start) if start < self.rest.end else None

    def fresh(self, event: LanguageDetected | Segment) -> LanguageDetected | Segment | None:
        """Return `event` in its place, or None if it is empty or was yielded before a crash.

        Raises:
            _HeardOtherwiseError: something else was yielded at this point before a crash.
        """
        if isinstance(event, LanguageDetected):
            seen, self._language = self._language, event.code
            return event if seen is None else None
        if self.rest is None or not event.text.strip():
            return None
        if self._expected:
            if event.text != self._expected.popleft():
                raise _HeardOtherwiseError
            return None
        placed = place(
            event, offset_s=self.rest.start_s, limit_s=self._limit_s, after_s=self._until_s
        )
        self._until_s = placed.end_s
        self._texts.append(event.text)
        return placed


def _stretch(chunk: Chunk) -> str:
    end_s = chunk.start_s + chunk.duration_s
    return f"the audio from {chunk.start_s:.1f} s to {end_s:.1f} s"


def _rejection(chunk: Chunk) -> str:
    return f"The engine crashed twice on {_stretch(chunk)}; the request was given up."


def _surrender(chunk: Chunk, losses: Losses) -> str:
    return (
        f"The engine was interrupted {losses.interruptions} times while it ran {_stretch(chunk)}, "
        "through no fault of the audio; the request was given up."
    )


def _refusal(chunk: Chunk) -> str:
    return (
        f"The engine crashed or hung twice on {_stretch(chunk)} a short while ago; "
        "it is not given to it again for now."
    )
