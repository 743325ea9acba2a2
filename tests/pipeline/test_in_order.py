"""Sources run at once and are read one after another."""

import asyncio
from contextlib import aclosing

import pytest

from whisper_router.pipeline.in_order import READ_AHEAD, in_order
from whisper_router.tasks import Tasks


class Sources:
    """Real generators whose steps the test releases one by one."""

    def __init__(self, count: int) -> None:
        self.gates = [asyncio.Event() for _ in range(count)]
        self.started = [asyncio.Event() for _ in range(count)]
        self.closed: list[int] = []
        self.fail: set[int] = set()

    def source(self, number: int):
        async def items():
            self.started[number].set()
            try:
                yield (number, "first")
                await self.gates[number].wait()
                if number in self.fail:
                    raise ValueError(number)
                yield (number, "last")
            finally:
                self.closed.append(number)

        return items

    async def all(self, *, error: Exception | None = None):
        for number in range(len(self.gates)):
            yield self.source(number)
        if error is not None:
            await self.started[-1].wait()
            raise error


async def test_items_come_in_the_order_of_the_sources_whichever_ends_first():
    """The second source is done long before the first, and still comes second."""
    sources = Sources(2)
    sources.gates[1].set()
    seen = []
    async with (
        asyncio.timeout(15),
        aclosing(in_order(sources.all(), width=2, tasks=Tasks())) as items,
    ):
        async for item in items:
            seen.append(item)
            if len(seen) == 1:
                await sources.started[1].wait()
                sources.gates[0].set()
    assert seen == [(0, "first"), (0, "last"), (1, "first"), (1, "last")]


async def test_no_more_than_width_sources_run():
    """The third waits until one of the others has ended, whichever that is."""
    sources = Sources(3)
    async with (
        asyncio.timeout(15),
        aclosing(in_order(sources.all(), width=2, tasks=Tasks())) as items,
    ):
        assert await anext(items) == (0, "first")
        await sources.started[1].wait()
        assert not sources.started[2].is_set()
        sources.gates[1].set()
        await sources.started[2].wait()
        for gate in sources.gates:
            gate.set()
        assert len([item async for item in items]) == 5


async def test_an_error_comes_in_its_place_and_ends_the_others():
    """What the failing source gave before is still read."""
    sources = Sources(3)
    sources.fail = {1}
    sources.gates[0].set()
    sources.gates[1].set()
    seen = []
    async with asyncio.timeout(15):
        with pytest.raises(ValueError, match="1"):
            async for item in in_order(sources.all(), width=3, tasks=Tasks()):
                seen.append(item)  # noqa: PERF401 - the loop raises
    assert seen == [(0, "first"), (0, "last"), (1, "first")]
    assert sorted(sources.closed) == [0, 1, 2]


async def test_closing_early_waits_for_every_source_to_clean_up():
    """A client that leaves frees all that worked for it."""
    sources = Sources(2)
    async with asyncio.timeout(15):
        async with aclosing(in_order(sources.all(), width=2, tasks=Tasks())) as items:
            await anext(items)
            await sources.started[1].wait()
        assert sorted(sources.closed) == [0, 1]


async def test_after_an_error_nothing_more_is_begun():
    """What could not be read any more is not computed."""
    sources = Sources(3)
    sources.fail = {1}
    sources.gates[1].set()
    async with asyncio.timeout(15):
        items = in_order(sources.all(), width=2, tasks=Tasks())
        assert await anext(items) == (0, "first")
        while 1 not in sources.closed:  # noqa: ASYNC110 - a closed list sets no event
            await asyncio.sleep(0)
        sources.gates[0].set()
        with pytest.raises(ValueError, match="1"):
            async for _ in items:
                pass
    assert not sources.started[2].is_set()


async def test_an_error_of_the_line_itself_ends_what_runs_at_once():
    """The rest of a broken file makes all work for it useless; what was heard is given first."""
    sources = Sources(2)
    seen = []
    async with asyncio.timeout(15):
        with pytest.raises(KeyError):
            async for item in in_order(sources.all(error=KeyError()), width=2, tasks=Tasks()):
                seen.append(item)  # noqa: PERF401 - the loop raises
    assert seen[:1] == [(0, "first")]
    assert sorted(sources.closed) == [0, 1]


async def test_a_reader_that_stops_reading_stops_the_line():
    """Results that nobody takes do not pile up without limit."""
    sources = Sources(READ_AHEAD + 10)
    for gate in sources.gates[1:]:
        gate.set()
    async with asyncio.timeout(15):
        items = in_order(sources.all(), width=2, tasks=Tasks())
        assert await anext(items) == (0, "first")
        await sources.started[READ_AHEAD].wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not sources.started[-1].is_set()
        sources.gates[0].set()
        assert len([item async for item in items]) == 2 * (READ_AHEAD + 10) - 1


async def test_a_second_cancellation_leaves_no_source_running():
    """All are told to end before any is waited for, and what they do at their end is not cut."""
    begun, cleaning, may_end = asyncio.Event(), asyncio.Event(), asyncio.Event()
    cleaned: asyncio.Queue[int] = asyncio.Queue()

    def source(number: int):
        async def items():
            try:
                yield number
                if number == 1:
                    begun.set()
                await asyncio.Event().wait()
            finally:
                cleaning.set()
                await may_end.wait()
                cleaned.put_nowait(number)

        return items

    async def all_sources():
        for number in range(2):
            yield source(number)

    async def read() -> None:
        async with aclosing(in_order(all_sources(), width=2, tasks=tasks)) as items:
            async for _ in items:
                pass

    tasks = Tasks()
    async with asyncio.timeout(15):
        reading = tasks.spawn(read(), name="reader")
        await begun.wait()
        reading.cancel()
        await cleaning.wait()
        reading.cancel()
        await asyncio.wait({reading})
        may_end.set()
        assert {await cleaned.get(), await cleaned.get()} == {0, 1}
