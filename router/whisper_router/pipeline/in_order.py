"""Several sources run at once, read as if they ran one after another."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from whisper_router.tasks import Tasks

READ_AHEAD = 32
"""How many sources may have been begun before the one that is read: a reader may stop reading."""

T = TypeVar("T")
Source = Callable[[], AsyncGenerator[T, None]]


async def in_order(
    sources: AsyncGenerator[Source[T], None], *, width: int, tasks: Tasks
) -> AsyncGenerator[T, None]:
    """Yield all items of the first source, then of the second, and so on.

    Up to `width` sources run at a time, in tasks of their own, each begun as soon as it is known
    and there is room. A source's error is raised where its items would have continued, and no
    other is begun after it; an error of `sources` itself ends those that run and is raised after
    what they have given. Closing the generator cancels every running source and waits until each
    has cleaned up.
    """
    line: _Line[T] = _Line(width, tasks)
    feeding = tasks.spawn(line.feed(sources), name="feed chunks")
    try:
        while (running := await line.next()) is not None:
            async for item in running.items():
                yield item
    finally:
        feeding.cancel()
        ended = line.end()  # all are told before any is waited for, which may be cancelled
        await asyncio.shield(asyncio.gather(feeding, *ended, return_exceptions=True))


class _Line(Generic[T]):
    """The sources that have been begun, in order."""

    def __init__(self, width: int, tasks: Tasks) -> None:
        self._tasks = tasks
        self._room = asyncio.Semaphore(width)
        self._begun: asyncio.Queue[_Running[T] | _End] = asyncio.Queue(READ_AHEAD)
        self._all: set[_Running[T]] = set()
        self._has_failed = False

    async def feed(self, sources: AsyncGenerator[Source[T], None]) -> None:
        """Begin the sources as they come."""
        error: Exception | None = None
        try:
            async with aclosing(sources):
                async for source in sources:
                    await self._room.acquire()
                    if self._has_failed:
                        break
                    await self._begun.put(self._begin(source))
        except Exception as caught:  # noqa: BLE001 - handed on to whoever reads the items
            error = caught
            for running in self._all:
                running.fail(error)
        await self._begun.put(_End(error))

    async def next(self) -> "_Running[T] | None":
        """Return the source after the last one; None: there is none any more."""
        following = await self._begun.get()
        if not isinstance(following, _End):
            return following
        if following.error is not None:
            raise following.error
        return None

    def end(self) -> "Sequence[asyncio.Task[None]]":
        """Stop all that run, and return their tasks, which clean up. Each is told once."""
        tasks = [running.task for running in self._all]
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        return tasks

    def _begin(self, source: Source[T]) -> "_Running[T]":
        running = _Running(source, self._tasks)
        self._all.add(running)
        running.task.add_done_callback(lambda _: self._ended(running))
        return running

    def _ended(self, running: "_Running[T]") -> None:
        self._all.discard(running)
        self._has_failed = self._has_failed or running.has_failed
        self._room.release()


@dataclass(frozen=True, slots=True)
class _End:
    error: Exception | None


class _Running(Generic[T]):
    """One source in its task. Its queue needs no bound: a source is the text of one chunk."""

    def __init__(self, source: Source[T], tasks: Tasks) -> None:
        self._queue: asyncio.Queue[T | _End] = asyncio.Queue()
        self.has_failed = False
        self.task = tasks.spawn(self._run(source), name="run chunk")

    async def items(self) -> AsyncIterator[T]:
        while not isinstance(item := await self._queue.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def fail(self, error: Exception) -> None:
        """Stop it; who reads its items gets the error after those it has given."""
        self.task.cancel()
        self._queue.put_nowait(_End(error))

    async def _run(self, source: Source[T]) -> None:
        try:
            async with aclosing(source()) as items:
                async for item in items:
                    self._queue.put_nowait(item)
        except Exception as error:  # noqa: BLE001 - handed on to whoever reads the items
            self.has_failed = True
            self._queue.put_nowait(_End(error))
        else:
            self._queue.put_nowait(_End(None))
