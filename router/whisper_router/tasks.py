"""Background tasks have an owner and a name."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

import structlog

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


class Tasks:
    """Keeps tasks alive until they end, and logs what they die of.

    `asyncio` holds only weak references to tasks, and an exception nobody asks for is reported
    when the garbage collector comes by, if ever: hence this owner.
    """

    def __init__(self) -> None:
        self._alive: set[asyncio.Task[Any]] = set()

    def spawn(
        self, coro: Coroutine[Any, Any, None], *, name: str, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Start `coro` as a task of this owner.

        It logs on behalf of the request that runs now, unless it gets a `context` of its own.
        """
        task = asyncio.get_running_loop().create_task(coro, name=name, context=context)
        self._alive.add(task)
        task.add_done_callback(self._done)
        return task

    async def in_full(self, coro: Coroutine[Any, Any, Result], *, name: str) -> Result:
        """Return what `coro` returns; it goes on if whoever waits for that is cancelled."""
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._alive.add(task)
        task.add_done_callback(self._alive.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._done)  # nobody else hears what it dies of
            raise

    async def close(self) -> None:
        """Cancel what still runs and wait for it.

        Whoever is cancelled while it waits leaves the tasks to their clean-up, which a second
        cancellation would end: a handler that fails to write is cancelled when its client is gone.
        """
        tasks = [task for task in self._alive if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.shield(asyncio.gather(*tasks, return_exceptions=True))

    async def close_in_full(self) -> None:
        """Close, and also when cancelled meanwhile return only once every task has ended.

        For tasks that work on what the caller frees next.
        """
        closing = asyncio.gather(self.close(), return_exceptions=True)
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._alive.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", task=task.get_name(), exc_info=error)
