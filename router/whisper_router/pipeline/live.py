"""Live sessions on real engines: the voice detector, chunks on the live lane, and their ends.

`live.session` decides what is heard; this drives it. Whoever sends faster than it can be heard, or
does not take the events, has to wait: nothing here grows without bounds.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace

import numpy as np
import structlog

from whisper_router.audio.ear import Ear, Ears, Floats
from whisper_router.audio.spool import Spool, SpoolFile
from whisper_router.domain import (
    Chunk,
    Lane,
    LanguageDetected,
    Segment,
    TranscriptionRequest,
)
from whisper_router.errors import MediaFailed, RouterError, TooManySessions
from whisper_router.live.events import LiveEvent
from whisper_router.live.session import Hypothesis, LiveOptions, LiveSession
from whisper_router.live.turns import WINDOW, TurnOptions
from whisper_router.metrics import LIVE_LAG_SECONDS, LIVE_SESSIONS_ENDED
from whisper_router.pipeline.chunk import ChunkBudget, ChunkRunner
from whisper_router.pipeline.demands import check_demands
from whisper_router.pipeline.poison import Poison
from whisper_router.scheduling.dispatch import Dispatcher
from whisper_router.tasks import Tasks

PIECE = 31 * WINDOW
"""Samples that go to the voice detector at a time, about a second: sessions share its thread."""
MAX_UNREAD = 64
"""Events that may wait for who reads them; then nothing more is recognised for the session."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveDefaults:
    """How sessions listen unless their dialect says otherwise, and what a chunk may take."""

    options: LiveOptions
    budget: ChunkBudget


class LiveSessions:
    """Admits live sessions, so many for each alias."""

    def __init__(
        self,
        *,
        spool: Spool,
        dispatcher_of: Callable[[str], Dispatcher],
        most_of: Callable[[str], int],
        limits: LiveDefaults,
    ) -> None:
        """`most_of` tells how many sessions an alias may have at a time."""
        self._spool, self._dispatcher_of, self._most_of = spool, dispatcher_of, most_of
        self._limits = limits
        self._ears, self._poison = Ears(), Poison()
        self._open: Counter[str] = Counter()

    def close(self) -> None:
        """Let nobody hear any more."""
        self._ears.close()

    def running(self) -> dict[str, int]:
        """Return how many sessions each alias has now."""
        return dict(+self._open)

    @property
    def turns(self) -> TurnOptions:
        """When a turn begins and ends unless somebody says otherwise."""
        return self._limits.options.turns

    def alias(self, name: str) -> str:
        """Return the alias that a name means. Raises ModelNotFound."""
        return self._dispatcher_of(name).pool.alias

    def check(self, request: TranscriptionRequest) -> None:
        """Raise ModelNotFound or InvalidParameter if no session could do what is asked for."""
        check_demands(request, self._dispatcher_of(request.model).pool.capabilities)

    @asynccontextmanager
    async def open(
        self, request: TranscriptionRequest, options: LiveOptions | None = None
    ) -> AsyncIterator["LiveRun"]:
        """Run a session until the block ends, which frees all that it holds.

        Raises:
            ModelNotFound: there is no such model.
            InvalidParameter: it cannot do what is asked for.
            TooManySessions: it has as many as it may have.
        """
        dispatcher = self._dispatcher_of(request.model)
        able = dispatcher.pool.capabilities
        check_demands(request, able)
        alias = dispatcher.pool.alias
        if self._open[alias] >= (most := self._most_of(alias)):
            raise TooManySessions(
                f"The model '{alias}' has {most} live sessions already (live.max_sessions)."
            )
        run = LiveRun(
            session=LiveSession(
                options or self._limits.options, language=request.language, prompt=request.prompt
            ),
            ear=self._ears.open(),
            runner=ChunkRunner(dispatcher, self._limits.budget, self._poison),
            request=_order(request, able.word_timestamps),
            spool=self._spool,
        )
        tasks = Tasks()
        self._open[alias] += 1
        try:
            tasks.spawn(_warm(dispatcher), name=f"warm {alias} for a live session")
            tasks.spawn(run.recognise(), name=f"live session with {alias}")
            log.info("live_session_began", alias=alias)
            yield run
        finally:
            try:
                await tasks.close_in_full()
            finally:
                self._open[alias] -= 1
                LIVE_SESSIONS_ENDED.labels(alias).inc()
                log.info("live_session_ended", alias=alias, audio_s=round(run.duration_s, 3))


def _order(request: TranscriptionRequest, word_timestamps: bool) -> TranscriptionRequest:  # noqa: FBT001
    return replace(request, lane=Lane.LIVE, word_timestamps=word_timestamps)


async def _warm(dispatcher: Dispatcher) -> None:
    """Load the model while somebody takes a breath. Should that fail, the first chunk tells."""
    with suppress(RouterError):
        await dispatcher.pool.warm()


class LiveRun:
    """One session: audio goes in, events come out, both in one task each."""

    def __init__(
        self,
        *,
        session: LiveSession,
        ear: Ear,
        runner: ChunkRunner,
        request: TranscriptionRequest,
        spool: Spool,
    ) -> None:
        self._session, self._ear, self._runner = session, ear, runner
        self._request, self._spool = request, spool
        self._rest: Floats = np.zeros(0, dtype=np.float32)  # less than a window
        self._news: deque[LiveEvent] = deque()
        self._has_ended = self._is_over = False
        self._error: RouterError | None = None
        self._work, self._room, self._unread, self._read = (asyncio.Event() for _ in range(4))

    @property
    def is_speaking(self) -> bool:
        """Whether somebody speaks where the audio ends now."""
        return self._session.is_speaking

    @property
    def duration_s(self) -> float:
        """How much audio was heard."""
        return self._session.duration_s

    @property
    def silence_s(self) -> float:
        """For how much audio nobody has spoken."""
        return self._session.silence_s

    async def hear(self, samples: Floats) -> None:
        """Hear 16 kHz mono samples, any number of them; waits while there is no room for them.

        After a bug, which `events` raises, and after `end` they are not listened to.
        """
        samples = np.concatenate((self._rest, samples))
        whole = len(samples) // WINDOW * WINDOW
        self._rest = samples[whole:]
        for begin in range(0, whole, PIECE):
            await self._hear(samples[begin : min(begin + PIECE, whole)])

    async def cut(self) -> None:
        """End the utterance that goes on, here; `Reached` is told once all before is final."""
        await self._hear_rest()
        self._session.cut()
        self._publish()

    async def clear(self) -> None:
        """Forget the utterance that goes on; then `Cleared` is told."""
        await self._hear_rest()
        self._session.clear()
        self._publish()

    async def end(self) -> None:
        """Make what was heard final; then `events` ends."""
        await self._hear_rest()
        self._has_ended = True
        self._session.cut()
        self._publish()

    def tune(self, turns: TurnOptions) -> None:
        """Judge by these options when somebody speaks, in audio that comes from now on."""
        self._session.tune(turns)

    def expect(self, request: TranscriptionRequest) -> None:
        """Take over language, prompt and what else is asked of the engine, from now on."""
        self._request = _order(request, self._request.word_timestamps)
        self._session.expect(language=request.language, prompt=request.prompt)

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """Yield what happens until the session has ended.

        Raises:
            RouterError: the session cannot go on. An engine's failure is an event.
        """
        while True:
            while self._news:
                event = self._news.popleft()
                self._read.set()
                yield event
            if self._error is not None:
                raise self._error
            if self._is_over:
                return
            self._unread.clear()
            await self._unread.wait()

    async def recognise(self) -> None:
        """Run one hypothesis after the other until all is final."""
        try:
            while not (self._has_ended and self._session.is_idle):
                request = self._session.take_request()
                if request is None:
                    self._work.clear()
                    await self._work.wait()
                else:
                    await self._answer(request)
        except Exception:  # a bug: whoever waits for events must not wait for ever
            self._error = RouterError("The server had an error while it recognised the audio.")
            raise
        finally:
            self._is_over = True
            for changed in (self._unread, self._room, self._read):
                changed.set()

    async def _hear_rest(self) -> None:
        """Let the detector hear what is less than a window."""
        rest, self._rest = self._rest, self._rest[:0]
        if len(rest):
            await self._hear(rest)

    async def _hear(self, piece: Floats) -> None:
        while self._session.room < len(piece) and not self._is_over:
            self._room.clear()
            await self._room.wait()
        probabilities = await self._ear.hear(piece)
        if not self._is_over and not self._has_ended:
            self._session.hear(piece, probabilities)
            self._publish()

    async def _answer(self, request: Hypothesis) -> None:
        while len(self._news) >= MAX_UNREAD:
            self._read.clear()
            await self._read.wait()
        began_s = time.monotonic()
        try:
            language, segments = await self._run(request)
        except RouterError as error:
            log.warning("live_chunk_failed", code=error.code, reason=str(error))
            self._session.refuse(error)
        except OSError as error:
            log.warning("live_audio_not_written", reason=str(error))
            failure = MediaFailed(f"The audio could not be written: {error.strerror}.")
            self._session.refuse(failure)
        else:
            took_s = time.monotonic() - began_s
            self._session.answer(segments, language=language, took_s=took_s)
            LIVE_LAG_SECONDS.observe(self._session.lag_s)
        self._room.set()
        self._publish()

    async def _run(self, request: Hypothesis) -> tuple[str | None, Sequence[Segment]]:
        """Recognise one window, written to a file of its own: what was heard before is gone."""
        samples = self._session.samples(request)
        order = replace(self._request, language=request.language, prompt=request.prompt)
        language, segments = request.language, []
        file = SpoolFile(self._spool.new_path(".f32"))
        try:
            await asyncio.to_thread(file.write, bytearray(samples.tobytes()))
            chunk = Chunk(path=file.path, start=0, end=len(samples))
            async with aclosing(self._runner.run(chunk, order)) as events:
                async for event in events:
                    if isinstance(event, LanguageDetected):
                        language = event.code
                    else:
                        segments.append(event)
        finally:
            await asyncio.shield(asyncio.to_thread(file.discard))
        return language, segments

    def _publish(self) -> None:
        """Let the events be read and the next hypothesis be run."""
        self._news.extend(self._session.take_events())
        self._unread.set()
        self._work.set()
