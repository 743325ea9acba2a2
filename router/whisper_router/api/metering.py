"""Requests and audio on the account of who asks, within the limits of the key."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import numpy as np
import numpy.typing as npt
from aiohttp import web
from aiohttp.typedefs import Handler

from whisper_router.api.access import rule_of
from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import HEARD, KEY
from whisper_router.api.key_source import KeySource
from whisper_router.api.keys import NO_LIMITS, Key, KeyLimits, Scope
from whisper_router.api.limits.account import Account, Hold
from whisper_router.api.limits.keeper import UsageKeeper
from whisper_router.api.model_access import check_rights
from whisper_router.api.services import ModelDirectory
from whisper_router.domain import (
    SAMPLE_RATE_HZ,
    AudioReady,
    Lane,
    TranscriptEvent,
    TranscriptionRequest,
)
from whisper_router.errors import LimitReached
from whisper_router.jobs.needs import Transcriber
from whisper_router.metrics import KEY_AUDIO_SECONDS, KEY_REQUESTS, LIMITS_REACHED
from whisper_router.pipeline.chunk_memory import NO_MEMORY, ChunkMemory
from whisper_router.pipeline.live import LiveRun
from whisper_router.pipeline.progress import Tracker
from whisper_router.pipeline.transcribe import MediaSource

STEP = SAMPLE_RATE_HZ // 2
"""Live audio is charged in steps of so many samples, half a second."""
WRITTEN_S = 1.0
"""It is in the file after so many seconds, where there is a limit."""
ALMOST_S = 0.5
"""How long the decoding of a file that is refused may go on."""
NOBODY = "none"
"""The label of who needs no key."""


@web.middleware
async def count_requests(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count what asks for work, and refuse what is over a limit of its key.

    A request is in the file before it is answered where a limit goes by it, so that a restart gives
    nobody a fresh minute.
    """
    if not rule_of(request).is_counted:
        return await handler(request)
    usage, limits, account = _account(request)
    KEY_REQUESTS.labels(account.name or NOBODY).inc()
    is_windowed = limits.requests_per_minute is not None
    try:
        account.admit(limits)
    except LimitReached as error:
        LIMITS_REACHED.labels(error.limit).inc()
        raise
    finally:
        usage.changed(account)
    is_failed = True
    try:
        if is_windowed:
            usage.changed(account, began=True)
            await usage.written()
        response = await handler(request)
        is_failed = response.status >= 400
    except asyncio.CancelledError:  # the client left
        is_failed = False
        raise
    else:
        return response
    finally:
        account.end()
        if is_failed:
            account.fail()
        usage.changed(account)


async def metered(
    usage: UsageKeeper,
    keys: KeySource,
    request: TranscriptionRequest,
    events: AsyncGenerator[TranscriptEvent, None],
    tracker: Tracker,
    *,
    work: str = "",
) -> AsyncGenerator[TranscriptEvent, None]:
    """Yield the events of a recognition, and charge its audio to who asks.

    What the file says of its length is held before anything is recognised; what it turns out to
    last is charged, and in the file, before the end is told. Of what fails or is not waited for
    only the recognised share is charged; of a job nothing, for it runs again or has no result.
    What has a name (`work`) is charged once, however often it runs.

    Raises:
        LimitReached: the key may not have so much audio today.
        IncorrectApiKey: the key is no longer good; of a job it may have been long ago.
    """
    account = usage.account(request.client.name)
    maker = (await keys.ring()).maker(request.client.name, account.clocks.unix())
    is_paid = usage.is_charged(work)  # but its end was not kept, so that it runs again
    limits = NO_LIMITS if maker is None or is_paid else maker.limits
    hold, is_charged = account.hold(limits), is_paid
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, AudioReady) and not is_paid:
                    hold.extend(event.duration_s)
                    is_charged = True
                    _charge(usage, account, hold, event.duration_s)
                    usage.note_charged(work)
                    if limits.audio_minutes_per_day is not None:
                        await usage.written()
                elif not is_charged:
                    await _extend(hold, tracker)
                yield event
    except LimitReached as error:
        LIMITS_REACHED.labels(error.limit).inc()
        raise
    finally:
        if not is_charged:
            share = 0.0 if request.lane is Lane.JOB else tracker.report.percent / 100
            _charge(usage, account, hold, hold.seconds * share)


class MeteredTranscriber:
    """Recognises for jobs, on the accounts of those who made them, if they still may have it."""

    def __init__(
        self,
        transcriber: Transcriber,
        usage: UsageKeeper,
        keys: KeySource,
        models: ModelDirectory,
    ) -> None:
        self._transcriber, self._usage = transcriber, usage
        self._keys, self._models = keys, models

    async def run(
        self,
        request: TranscriptionRequest,
        media: MediaSource,
        tracker: Tracker | None = None,
        memory: ChunkMemory = NO_MEMORY,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield the events.

        Raises:
            InsufficientScope, ModelNotAllowed: the key has lost the scope `jobs`, or the model.
            RouterError: as `metered`, and what the recognition raises.
        """
        maker = (await self._keys.ring()).maker(request.client.name, self._usage.clocks.unix())
        if maker is not None:
            check_rights(maker, Scope.JOBS, self._models, request.model)
        tracker = tracker or Tracker(request.client.name)
        recognised = self._transcriber.run(request, media, tracker, memory)
        events = metered(self._usage, self._keys, request, recognised, tracker, work=memory.work)
        async with aclosing(events):
            async for event in events:
                yield event


class LiveMeter:
    """Charges the audio of a live session as it is heard. `seconds` is how much that was.

    `key` is whose session it is; None: nobody needs one.
    """

    def __init__(
        self, usage: UsageKeeper, account: Account, keys: KeySource, key: Key | None
    ) -> None:
        self._usage, self._account, self._keys, self._key = usage, account, keys, key
        self._limits = NO_LIMITS if key is None else key.limits
        self.seconds = self._written_s = 0.0

    async def hear(self, run: LiveRun, samples: npt.NDArray[np.float32]) -> None:
        """Let a session hear 16 kHz mono samples.

        Raises:
            LimitReached: the audio that the key may have today ends within them.
            IncorrectApiKey: the key is no longer good.
        """
        for begin in range(0, len(samples), STEP):
            await self._look()
            piece = samples[begin : begin + STEP]
            self._charge(len(piece) / SAMPLE_RATE_HZ)
            if self._limits.audio_minutes_per_day is not None:
                await self._write()
            await run.hear(piece)

    async def _look(self) -> None:
        """Hold the session to what its key is now. The source says how often it looks itself."""
        if self._key is not None:
            now_s = self._account.clocks.unix()
            self._limits = (await self._keys.ring()).current(self._key, now_s).limits

    async def _write(self) -> None:
        """Have all but the last second in the file, however fast the audio comes."""
        if self.seconds - self._written_s >= WRITTEN_S:
            self._written_s = self.seconds
            await self._usage.written()

    def _charge(self, seconds: float) -> None:
        try:
            self._account.charge(seconds, self._limits)
        except LimitReached as error:
            LIMITS_REACHED.labels(error.limit).inc()
            raise
        self.seconds += seconds
        KEY_AUDIO_SECONDS.labels(self._account.name or NOBODY).inc(seconds)
        self._usage.changed(self._account)


def live_meter(request: web.Request) -> LiveMeter:
    """Return what charges the audio of this request's live session."""
    usage, _, account = _account(request)
    meter = LiveMeter(usage, account, request.app[DEPS].keys, request.get(KEY))
    request[HEARD] = meter
    return meter


def has_audio_limit(request: web.Request) -> bool:
    """Return whether it must be known how much audio a request has."""
    key = request.get(KEY)
    return key is not None and key.limits.audio_minutes_per_day is not None


async def _extend(hold: Hold, tracker: Tracker) -> None:
    """Hold as much audio as is known of. Raises LimitReached.

    That ends the decoding, which takes a process with it: so what is almost done may be done first.
    """
    report = tracker.report
    try:
        hold.extend(max(report.duration_s or 0.0, report.decoded_s))
    except LimitReached:
        with suppress(TimeoutError):
            async with asyncio.timeout(ALMOST_S):
                while tracker.report.left_s != 0.0:
                    await tracker.changed()
        raise


def _account(request: web.Request) -> tuple[UsageKeeper, KeyLimits, Account]:
    usage, key = request.app[DEPS].usage, request.get(KEY)
    limits = NO_LIMITS if key is None else key.limits
    return usage, limits, usage.account("" if key is None else key.name)


def _charge(usage: UsageKeeper, account: Account, hold: Hold, seconds: float) -> None:
    hold.settle(seconds)
    if seconds > 0:
        KEY_AUDIO_SECONDS.labels(account.name or NOBODY).inc(seconds)
        usage.changed(account)
