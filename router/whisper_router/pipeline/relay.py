"""Sends whole uploads on to servers that recognise them, and to another one if one fails."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import Final

import structlog

from whisper_router.engine_api import RelayedAnswer, RelayedForm, RemoteEngine
from whisper_router.errors import (
    EngineCrashed,
    EngineError,
    EngineInterrupted,
    ModelNotFound,
    RouterError,
    UpstreamRefused,
)
from whisper_router.scheduling.dispatch import Dispatcher
from whisper_router.scheduling.fair_queue import Ticket
from whisper_router.supervisor.planner import PoolSpec

MAX_UNSENT: Final = 10
"""How often a request is given to another server because it could not be sent to one."""
MAX_ANSWER_BYTES: Final = 16 << 20

log = structlog.get_logger(__name__)


class Relay:
    """Finds a server for each upload, in the order of the fair queue."""

    def __init__(self, dispatcher_of: Callable[[str], Dispatcher]) -> None:
        self._dispatcher_of = dispatcher_of

    def is_remote(self, model: str | None) -> bool:
        """Tell whether servers elsewhere do the model's work."""
        return self._remote(model) is not None

    def takes(self, model: str | None) -> bool:
        """Tell whether uploads for the model are sent on as they are."""
        spec = self._remote(model)
        return (
            spec is not None
            and isinstance(spec.engine, RemoteEngine)
            and spec.engine.takes_forms(spec.options)
        )

    def _remote(self, model: str | None) -> PoolSpec | None:
        if model is None:
            return None
        try:
            spec = self._dispatcher_of(model.strip()).pool.spec
        except ModelNotFound:  # said once all of the form is known
            return None
        return spec if isinstance(spec.engine, RemoteEngine) else None

    @asynccontextmanager
    async def answer(
        self, model: str, form: RelayedForm, ticket: Ticket, *, began: Callable[[], None]
    ) -> AsyncIterator[RelayedAnswer]:
        """Send the form on and hold its answer until the block ends. `began`: it has its turn.

        Recognising speech has no side effects, so a request that one server did not answer is sent
        to another one: as often as need be while nothing was sent, once if its answer broke off.
        An answer that is no stream is read before it is given out, so this covers all of it.

        Raises:
            EngineStartFailed: no server is there.
            UpstreamRefused: a server answered with an error.
            RouterError: what broke the upload; the queue is full; a server failed.
        """
        dispatcher = self._dispatcher_of(model.strip())
        if _wants_whole_forms(dispatcher):
            await form.complete()  # nobody's worker waits for a slow client
        stack, answer = await _answered(dispatcher, form, ticket, began)
        broken: list[RouterError] = []
        is_told = False
        try:
            async with stack:
                yield replace(answer, body=_noted(answer.body, broken))
                if broken:
                    is_told = True  # the client knows; the pool shall know, too
                    raise broken[0]
        except EngineError:
            if not is_told:
                raise


async def _answered(
    dispatcher: Dispatcher, form: RelayedForm, ticket: Ticket, began: Callable[[], None]
) -> tuple[AsyncExitStack, RelayedAnswer]:
    losses, unsent = 0, 0
    while True:
        try:
            async with AsyncExitStack() as stack:
                answer = await _ask(dispatcher, form, ticket, stack, began)
                return stack.pop_all(), answer
        except (EngineCrashed, UpstreamRefused) as error:
            if isinstance(error, EngineInterrupted):
                unsent += 1
            else:
                losses += 1
            if losses > 1 or unsent > MAX_UNSENT or not _is_elsewhere_better(dispatcher, error):
                raise
            log.warning("upstream_lost", alias=dispatcher.pool.alias, reason=str(error))
        ticket = replace(ticket, has_begun=True)


async def _ask(
    dispatcher: Dispatcher,
    form: RelayedForm,
    ticket: Ticket,
    stack: AsyncExitStack,
    began: Callable[[], None],
) -> RelayedAnswer:
    lease = await stack.enter_async_context(dispatcher.lease(ticket))
    began()
    engine = lease.engine
    if not isinstance(engine, RemoteEngine):
        raise TypeError(f"engine '{engine.name}' sends nothing on")
    async with lease.unless_lost():
        answer = await stack.enter_async_context(engine.relay(lease.http, lease.endpoint, form))
        return answer if answer.is_stream else replace(answer, body=_once(await _whole(answer)))


def _wants_whole_forms(dispatcher: Dispatcher) -> bool:
    spec = dispatcher.pool.spec
    return isinstance(spec.engine, RemoteEngine) and spec.engine.wants_whole_forms(spec.options)


async def _noted(
    body: AsyncGenerator[bytes, None], broken: list[RouterError]
) -> AsyncGenerator[bytes, None]:
    """Yield the body, and note what breaks it off."""
    async with aclosing(body):
        try:
            async for piece in body:
                yield piece
        except RouterError as error:
            broken.append(error)
            raise


def _is_elsewhere_better(dispatcher: Dispatcher, error: RouterError) -> bool:
    if not isinstance(error, UpstreamRefused):
        return True
    spec = dispatcher.pool.spec
    has_others = (
        isinstance(spec.engine, RemoteEngine) and len(spec.engine.endpoints(spec.options)) > 1
    )
    return error.is_elsewhere_better and has_others


async def _whole(answer: RelayedAnswer) -> bytes:
    body = bytearray()
    async for piece in answer.body:
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise EngineCrashed(f"The server's answer is larger than {MAX_ANSWER_BYTES} bytes.")
    return bytes(body)


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
