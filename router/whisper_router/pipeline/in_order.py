"""Several sources run at once, read as if they ran one after another."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from whisper_router.tasks import Tasks

T = TypeVar("T")


async def in_order(
    sources: Iterable[Callable[[], AsyncGenerator[T, None]]], *, width: int, tasks: Tasks
) -> AsyncGenerator[T, None]:
    """Yield all items of the first source, then of the second, and so on.

    Up to `width` sources run ahead in tasks of their own. A source's error is raised where its
    items would have continued. Closing the generator cancels every running source and waits until
    each has cleaned up.
    """
    pending = iter(sources)
    running: deque[_Running[T]] = deque()
    try:
        while True:
            while len(running) < width and (source := next(pending, None)) is not None:
                running.append(_Running(source, tasks))
            if not running:
                return
            async for item in running[0].items():
                yield item
            running.popleft()
    finally:
        for source_run in running:
            source_run.task.cancel()
        await asyncio.gather(*(run.task for run in running), return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


class _Running(Generic[T]):
    """One source in its task. Its queue needs no bound: a source is one chunk of at most 30 s."""

    def __init__(self, source: Callable[[], AsyncGenerator[T, None]], tasks: Tasks) -> None:
        self._queue: asyncio.Queue[T | _End] = asyncio.Queue()
        self.task = tasks.spawn(self._run(source), name="run chunk")

    async def items(self) -> AsyncIterator[T]:
        while not isinstance(item := await self._queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    async def _run(self, source: Callable[[], AsyncGenerator[T, None]]) -> None:
        try:
            async with aclosing(source()) as items:
                async for item in items:
                    self._queue.put_nowait(item)
        except Exception as error:  # noqa: BLE001 - handed on to whoever reads the items
            self._queue.put_nowait(_End(error))
        else:
            self._queue.put_nowait(_End(None))
