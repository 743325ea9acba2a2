"""Background tasks have an owner and a name."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """Keeps tasks alive until they end, and logs what they die of.

    `asyncio` holds only weak references to tasks, and an exception nobody asks for is reported
    when the garbage collector comes by, if ever: hence this owner.
    """

    def __init__(self) -> None:
        self._alive: set[asyncio.Task[Any]] = set()

    def spawn(self, coro: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start `coro` as a task of this owner."""
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._alive.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = [task for task in self._alive if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._alive.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", task=task.get_name(), exc_info=error)
