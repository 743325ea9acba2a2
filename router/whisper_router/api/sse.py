"""Transcripts as server-sent events (HTML standard 9.2), in the shape of the OpenAI audio API."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from aiohttp import web

from whisper_router.api.context import elapsed_s
from whisper_router.api.formats import Json, diarized_segment, logprob_bodies, token_usage
from whisper_router.api.noting import last_cancellable, note_failure
from whisper_router.api.problems import count_error, internal_error
from whisper_router.api.wire import encode_json
from whisper_router.domain import AudioFound, AudioReady, Hole, LanguageDetected, TranscriptEvent
from whisper_router.errors import RouterError
from whisper_router.metrics import FIRST_DELTA_SECONDS
from whisper_router.tasks import Tasks

EVENT_STREAM = "text/event-stream"
HEARTBEAT = b": keep-alive\n\n"
BLANK_LINE = b"\r\n\r\n"
QUEUED_EVENTS = 8
HEADERS = {
    "Content-Type": f"{EVENT_STREAM}; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx holds events back otherwise
}

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """`heartbeat_s` is how long a stream may be silent: proxies close silent connections.

    `speakers`: each segment is told with who says it, after its text. `whole` makes of all events
    what the last one has as `verbose_json`.
    """

    logprobs: bool
    heartbeat_s: float
    speakers: bool = False
    whole: Callable[[Sequence[TranscriptEvent]], Awaitable[Json]] | None = None


async def stream(
    request: web.Request,
    events: AsyncGenerator[TranscriptEvent, None],
    options: StreamOptions,
) -> web.StreamResponse:
    """Send events until they end, and close them.

    The headers go out with the first text, or with a heartbeat once it is known to be audio.

    Raises:
        RouterError: the work failed before anything was sent: there is still time for a status.
    """
    answer = _Answer(request)
    text = StreamedText(logprobs=options.logprobs, speakers=options.speakers)
    seen: list[TranscriptEvent] = []
    try:
        with last_cancellable(request):
            async with aclosing(with_pulse(events, interval_s=options.heartbeat_s)) as pulse:
                async for event in pulse:
                    await answer.write(text.frame(event))
                    if options.whole is not None and event is not None:
                        seen.append(event)
            verbose = {} if options.whole is None else {"verbose_json": await options.whole(seen)}
            await answer.write(_frame(text.done() | verbose))
    except _ClientLeft:
        log.info("stream_abandoned")
    except Exception as error:
        if not answer.begun:
            raise
        await answer.fail(error)
    return answer.response


async def pass_on(
    request: web.Request, body: AsyncGenerator[bytes, None], *, heartbeat_s: float
) -> web.StreamResponse:
    """Send another server's events as they come, with heartbeats in between; close `body`.

    Raises:
        RouterError: it failed before anything was sent.
    """
    answer, end = _Answer(request), b"\n\n"
    try:
        with last_cancellable(request):
            async with aclosing(with_pulse(body, interval_s=heartbeat_s)) as pulse:
                async for piece in pulse:
                    if piece:
                        await answer.write(piece)
                        end = (end + piece)[-len(BLANK_LINE) :]
                    elif end.replace(b"\r", b"").endswith(b"\n\n"):  # not within an event
                        await answer.write(HEARTBEAT)
    except _ClientLeft:
        log.info("stream_abandoned")
    except Exception as error:
        if not answer.begun:
            raise
        await answer.fail(error)
    return answer.response


class StreamedText:
    """Turns transcript events into stream events; the deltas joined are the text of `done`."""

    def __init__(self, *, logprobs: bool, speakers: bool = False) -> None:
        self._include_logprobs, self._include_speakers = logprobs, speakers
        self._segments = 0
        self._sent, self._held_space = "", ""
        self._logprobs: list[Json] = []
        self._is_audio = False
        self._duration_s = 0.0
        self._tokens = 0

    def frame(self, event: TranscriptEvent | None) -> bytes:
        """Return the bytes to send for an event or, at None, for a heartbeat; often nothing."""
        match event:
            case None:
                return HEARTBEAT if self._is_audio else b""
            case AudioFound():
                self._is_audio = True
                return b""
            case AudioReady():
                self._duration_s = event.duration_s
                return b""
            case LanguageDetected() | Hole():
                return b""
        self._tokens += len(event.tokens)
        logprobs = list(logprob_bodies(event.logprobs)) if self._include_logprobs else []
        self._logprobs += logprobs
        delta = self._next(event.text)
        if not delta:
            return b""
        extra: Json = {"logprobs": logprobs} if self._include_logprobs else {}
        if not self._include_speakers:
            return _frame({"type": "transcript.text.delta", "delta": delta, **extra})
        self._segments += 1
        segment = diarized_segment(self._segments, event)
        extra["segment_id"] = segment["id"]
        return _frame({"type": "transcript.text.delta", "delta": delta, **extra}) + _frame(segment)

    def done(self) -> Json:
        """Return the last event."""
        extra = {"logprobs": self._logprobs} if self._include_logprobs else {}
        usage = token_usage(self._duration_s, output_tokens=self._tokens)
        return {"type": "transcript.text.done", "text": self._sent, **extra, "usage": usage}

    def _next(self, text: str) -> str:
        """Return what to append. White space waits for what follows it: the last is never sent."""
        text = self._held_space + text
        if not self._sent:
            text = text.lstrip()
        delta = text.rstrip()
        self._held_space = text[len(delta) :]
        self._sent += delta
        return delta


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


async def with_pulse(
    events: AsyncGenerator[T, None], *, interval_s: float
) -> AsyncGenerator[T | None, None]:
    """Yield the events, and None whenever `interval_s` went by without one; then close them.

    The events are read, and closed, by one task of their own: a time limit around `anext` would
    cancel the work instead of the wait.
    """
    queue: asyncio.Queue[T | _End] = asyncio.Queue(QUEUED_EVENTS)
    tasks = Tasks()
    tasks.spawn(_read_into(queue, events), name="read events")
    try:
        while True:
            item = await _next(queue, interval_s)
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        await tasks.close_in_full()  # the upload goes next, and the work still reads it


async def _next(queue: "asyncio.Queue[T | _End]", interval_s: float) -> T | _End | None:
    try:
        async with asyncio.timeout(interval_s):
            return await queue.get()
    except TimeoutError:
        return None


async def _read_into(queue: "asyncio.Queue[T | _End]", events: AsyncGenerator[T, None]) -> None:
    error: Exception | None = None
    try:
        async with aclosing(events):
            async for event in events:
                await queue.put(event)
    except Exception as caught:  # noqa: BLE001 (the reader of the queue raises it)
        error = caught
    await queue.put(_End(error))


class _ClientLeft(Exception):
    """The connection was closed by the other side."""


class _Answer:
    """The response, begun with its first bytes."""

    def __init__(self, request: web.Request) -> None:
        self._request, self._has_text = request, False
        self.response = web.StreamResponse(headers=HEADERS)

    @property
    def begun(self) -> bool:
        return self.response.prepared

    async def write(self, frame: bytes) -> None:
        if not frame:
            return
        if not self._has_text and frame is not HEARTBEAT:
            self._has_text = True
            FIRST_DELTA_SECONDS.observe(elapsed_s(self._request))
        try:
            await self.response.prepare(self._request)
            await self.response.write(frame)
        except ConnectionError as error:
            raise _ClientLeft from error

    async def fail(self, error: Exception) -> None:
        """Send a late error as the last event: a second status would corrupt the stream."""
        if not isinstance(error, RouterError):
            log.error("stream_failed", exc_info=error)
            error = internal_error()
        else:
            log.warning("stream_failed", code=error.code, reason=str(error))
        count_error(error)
        note_failure(self._request, error)
        try:
            await self.write(_frame(error.envelope()))
        except _ClientLeft:
            log.info("stream_abandoned")


def _frame(payload: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(payload) + b"\n\n"
