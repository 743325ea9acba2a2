"""One realtime session: does what the client says, with a live session behind it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from whisper_router.api.fields import quoted
from whisper_router.api.realtime.client_events import (
    audio_of,
    check_model,
    item_id_of,
    kind_of,
    session_of,
    too_little,
    unpacked,
)
from whisper_router.api.realtime.config import SessionConfig
from whisper_router.api.realtime.items import Items, new_id
from whisper_router.api.realtime.order import SessionOrder, input_of, model_of
from whisper_router.api.realtime.shapes import beta_path, beta_session, from_beta, ga_session
from whisper_router.api.realtime.tellers import ByCommits, ByTurns, server_event
from whisper_router.api.services import Live, ModelDirectory
from whisper_router.audio.ear import Floats
from whisper_router.errors import (
    IncorrectApiKey,
    InvalidParameter,
    InvalidRequest,
    LimitReached,
    RouterError,
)
from whisper_router.live.events import LiveEvent, Reached
from whisper_router.pipeline.live import LiveRun

Json = dict[str, Any]

LEAST_COMMIT_S = 0.1
APPEND = "input_audio_buffer.append"
MAX_EVENT_BYTES = 256 << 10
"""Of an event that is no audio."""
PIECE_BYTES = 96_000
"""So much is decoded at a time, 2 s of 24 kHz samples, which takes about a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    """A stretch of the session on one model. `begin_s`: where in the session's audio."""

    run: LiveRun
    stack: AsyncExitStack
    begin_s: float


class RealtimeSession:
    """`take` is for what the client sends, in one task; `tell` sends what is heard, in another."""

    def __init__(
        self,
        order: SessionOrder,
        *,
        live: Live,
        models: ModelDirectory,
        send: Callable[[Sequence[Json]], Awaitable[None]],
        hear: Callable[[LiveRun, Floats], Awaitable[None]] = LiveRun.hear,
    ) -> None:
        """`hear` lets a live session hear samples."""
        self._config, self._defaults = order.config, order.defaults
        self._order, self._is_beta = order, order.is_beta
        self._live, self._models, self._send, self._let_hear = live, models, send, hear
        self._id = new_id("sess")
        self._items = Items()
        self._log, self._decoder = input_of(order.config, at_s=0.0)
        self._committed_s = 0.0
        self._turns = self._telling = self._teller()
        self._leg: _Leg | None = None
        self._heard_s = 0.0
        self._legs: asyncio.Queue[_Leg | None] = asyncio.Queue()
        self._stacks: list[AsyncExitStack] = []
        self._cuts: deque[Callable[[], Iterable[Json]]] = deque()  # what to do as they are reached

    @property
    def model(self) -> str:
        """The model that it listens with."""
        return model_of(self._config)

    @property
    def heard_s(self) -> float:
        """How many seconds of audio the client has sent."""
        return max(self._heard_s, self._log.end_s)

    async def begin(self) -> None:
        """Tell that there is a session."""
        kind = "transcription_session" if self._is_beta else "session"
        await self._send([server_event(f"{kind}.created", session=self._shown())])

    async def take(self, message: bytes) -> None:
        """Do what a text message says. What is wrong with it is told, and changes nothing.

        Raises:
            RouterError: no live session could be begun, or go on; this was told.
        """
        event_id: object = None
        try:
            body = await unpacked(message)
            event_id = body.get("event_id")
            handler = HANDLERS.get(kind_of(body))
            if handler is None:
                raise InvalidParameter(
                    f"Invalid value: {quoted(body['type'])}. A transcription session takes "
                    f"{', '.join(HANDLERS)}.",
                    param="type",
                )
            if len(message) > MAX_EVENT_BYTES and handler is not HANDLERS[APPEND]:
                raise InvalidRequest(f"Only '{APPEND}' may have more than {MAX_EVENT_BYTES} bytes.")
            await handler(self, body)
        except RouterError as error:
            await self._refuse(error, event_id)

    async def take_audio(self, audio: bytes) -> None:
        """Hear a binary message, which is audio as it is. Raises as `take`."""
        try:
            await self._hear(audio)
        except RouterError as error:
            await self._refuse(error, None)

    async def _refuse(self, error: RouterError, event_id: object) -> None:
        """Tell what is wrong; raise it if there is no live session to go on with."""
        await self._send([error_event(error, event_id)])
        is_over = self._leg is None and not isinstance(error, InvalidRequest)
        if is_over or isinstance(error, LimitReached | IncorrectApiKey):
            raise error

    async def _hear(self, audio: bytes) -> None:
        leg = await self._begun()
        self._log.append(audio)
        for begin in range(0, len(audio), PIECE_BYTES):
            samples = self._decoder.feed(audio[begin : begin + PIECE_BYTES])
            await self._let_hear(leg.run, samples)

    async def tell(self) -> None:
        """Send what is heard until `end`."""
        while (leg := await self._legs.get()) is not None:
            async with aclosing(leg.run.events()) as events:
                async for event in events:
                    if told := list(self._told(event, leg)):
                        await self._send(told)
            await leg.stack.aclose()

    async def end(self) -> None:
        """Make what was heard final; then `tell` returns."""
        try:
            await self._end_leg()
        finally:
            self._legs.put_nowait(None)

    async def close(self) -> None:
        """Free all that the session holds, at once: a minute of audio is megabytes."""
        async with AsyncExitStack() as all_stacks:
            for stack in self._stacks:
                all_stacks.push_async_exit(stack)
        self._stacks.clear()
        self._cuts.clear()
        self._leg, self._legs, self._heard_s = None, asyncio.Queue(), self.heard_s
        self._log, self._decoder = input_of(self._config, at_s=0.0)

    async def _update(self, body: Json) -> None:
        await self._configure(
            self._config.updated(session_of(body), defaults=self._defaults), "session.updated"
        )

    async def _update_beta(self, body: Json) -> None:
        given = from_beta(session_of(body))
        try:
            config = self._config.updated(given, defaults=self._defaults)
            await self._configure(config, "transcription_session.updated")
        except InvalidParameter as error:
            path = beta_path(error.param) or "session"
            message = str(error).replace(error.param or path, path)
            raise InvalidParameter(message, param=path, code=error.code) from error

    async def _configure(self, config: SessionConfig, reply: str) -> None:
        """Let `config` be in effect, unless it cannot be."""
        before, is_other_format = self._config, config.input.format != self._config.input.format
        if is_other_format and self._uncommitted_s() > 0:
            raise InvalidParameter(
                "The format cannot change while there is audio in the buffer. "
                "Commit or clear it first.",
                param="session.audio.input.format",
            )
        self._order.check(config, models=self._models, live=self._live)
        alias = self._live.alias(model_of(config))
        if self._leg is not None and alias != self._live.alias(model_of(before)):
            following = await self._open(config)  # or the session stays with the model it has
            await self._end_leg()
            self._leg = following
            self._legs.put_nowait(following)
        await self._flush()
        self._config = config
        if is_other_format:
            self._log, self._decoder = input_of(config, at_s=self._log.end_s)
        run = (await self._begun()).run
        run.tune(config.turns(self._live.turns))
        if self._order.request_of(config) != self._order.request_of(before):
            run.expect(self._order.request_of(config))
        if (config.input.turn_detection is None) != isinstance(self._turns, ByCommits):
            await self._switch(run)
        shown = self._shown(is_beta=reply.startswith("transcription_session"))
        await self._send([server_event(reply, session=shown)])

    async def _append(self, body: Json) -> None:
        await self._hear(await audio_of(body))

    async def _commit(self, _body: Json) -> None:
        buffered_s = self._uncommitted_s()
        await self._flush()
        if isinstance(self._turns, ByCommits):
            if buffered_s < LEAST_COMMIT_S:
                raise too_little(buffered_s)
            await self._send(self._commit_by_client())
        elif self._leg is None or not self._leg.run.is_speaking:
            raise too_little(0.0)
        else:
            self._cuts.append(tuple)
        if self._leg is not None:
            await self._leg.run.cut()

    def _commit_by_client(self) -> Sequence[Json]:
        """Return what to send at once; an item of before that is not committed yet goes first."""
        turns, start_s, end_s = self._turns, self._committed_s, self._log.end_s
        if not isinstance(turns, ByCommits):
            return ()
        self._committed_s = end_s
        if self._telling is turns:
            self._cuts.append(lambda: turns.reached(self._config))
            return list(turns.commit(start_s, end_s))
        self._cuts.append(lambda: (*turns.commit(start_s, end_s), *turns.reached(self._config)))
        return ()

    async def _clear(self, _body: Json) -> None:
        self._committed_s = self._log.end_s
        await self._flush()
        if self._leg is None:
            await self._send([server_event("input_audio_buffer.cleared")])
            return
        if isinstance(self._turns, ByCommits):
            self._turns.clear()
        await self._leg.run.clear()

    async def _retrieve(self, body: Json) -> None:
        item = self._items.get(item_id_of(body))
        audio = self._log.read(item.start_s, item.end_s)
        shown = item.body(audio, with_audio=True)
        await self._send([server_event("conversation.item.retrieved", item=shown)])

    async def _delete(self, body: Json) -> None:
        item = self._items.delete(item_id_of(body))
        await self._send([server_event("conversation.item.deleted", item_id=item.id)])

    def _uncommitted_s(self) -> float:
        if isinstance(self._turns, ByCommits):
            return self._log.end_s - self._committed_s
        return LEAST_COMMIT_S if self._leg is not None and self._leg.run.is_speaking else 0.0

    async def _switch(self, run: LiveRun) -> None:
        """Take turns in the other way from here on; what was said until here is committed."""
        await self._flush()
        if isinstance(self._turns, ByCommits) and self._uncommitted_s() >= LEAST_COMMIT_S:
            await self._send(self._commit_by_client())
            await run.cut()
        self._committed_s = self._log.end_s
        turns = self._turns = self._teller()

        def switch() -> Iterable[Json]:
            self._telling = turns
            return ()

        self._cuts.append(switch)
        await run.cut()

    async def _flush(self) -> None:
        """Let what the resampler holds back be heard."""
        samples = self._decoder.flush()
        if self._leg is not None and len(samples):
            await self._leg.run.hear(samples)

    async def _begun(self) -> _Leg:
        """Return the live session; begin one if there is none."""
        if self._leg is None:
            self._leg = await self._open(self._config)
            self._legs.put_nowait(self._leg)
        return self._leg

    async def _open(self, config: SessionConfig) -> _Leg:
        request = self._order.request_of(config)
        check_model(self._models, request.model)  # it may be the usual one, or a secret's
        stack = AsyncExitStack()
        self._stacks.append(stack)
        run = await stack.enter_async_context(self._live.open(request))
        stack.enter_context(self._models.in_use(request.model, None))
        run.tune(config.turns(self._live.turns))
        return _Leg(run=run, stack=stack, begin_s=self._log.end_s)

    async def _end_leg(self) -> None:
        if self._leg is not None:
            await self._flush()
            if isinstance(self._turns, ByCommits) and self._uncommitted_s() >= LEAST_COMMIT_S:
                await self._send(self._commit_by_client())
                await self._leg.run.cut()
            self._cuts.append(tuple)
            await self._leg.run.end()
            self._leg = None

    def _told(self, event: LiveEvent, leg: _Leg) -> Iterator[Json]:
        if isinstance(event, Reached):
            yield from self._cuts.popleft()()
        else:
            yield from self._telling.tell(event, self._config, begin_s=leg.begin_s)

    def _teller(self) -> ByTurns | ByCommits:
        if self._config.input.turn_detection is None:
            return ByCommits(self._items, is_beta=self._is_beta)
        return ByTurns(self._items, is_beta=self._is_beta)

    def _shown(self, *, is_beta: bool | None = None) -> Json:
        shape = beta_session if (self._is_beta if is_beta is None else is_beta) else ga_session
        return shape(self._config, session_id=self._id, expires_at=self._order.expires_at)


HANDLERS: Mapping[str, Callable[[RealtimeSession, Json], Awaitable[None]]] = MappingProxyType(
    {
        "session.update": RealtimeSession._update,
        "transcription_session.update": RealtimeSession._update_beta,
        APPEND: RealtimeSession._append,
        "input_audio_buffer.commit": RealtimeSession._commit,
        "input_audio_buffer.clear": RealtimeSession._clear,
        "conversation.item.retrieve": RealtimeSession._retrieve,
        "conversation.item.delete": RealtimeSession._delete,
    }
)


def error_event(error: RouterError, event_id: object = None) -> Json:
    """Return an error as an event; `event_id` is that of the client's event."""
    body: Json = dict(error.envelope()["error"])
    body["event_id"] = event_id if isinstance(event_id, str) else None
    return server_event("error", error=body)
