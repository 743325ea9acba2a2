"""Sources run at once and are read one after another."""

import asyncio
from contextlib import aclosing

import pytest

from whisper_router.pipeline.in_order import in_order
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

    def all(self):
        return [self.source(number) for number in range(len(self.gates))]


async def test_items_come_in_the_order_of_the_sources_whichever_ends_first():
    """The second source is done long before the first, and still comes second."""
    sources = Sources(2)
    sources.gates[1].set()
    seen = []
    async with (
        asyncio.timeout(10),
        aclosing(in_order(sources.all(), width=2, tasks=Tasks())) as items,
    ):
        async for item in items:
            seen.append(item)
            if len(seen) == 1:
                await sources.started[1].wait()
                sources.gates[0].set()
    assert seen == [(0, "first"), (0, "last"), (1, "first"), (1, "last")]


async def test_no_more_than_width_sources_run():
    """The third waits until the first was read to its end."""
    sources = Sources(3)
    async with (
        asyncio.timeout(10),
        aclosing(in_order(sources.all(), width=2, tasks=Tasks())) as items,
    ):
        assert await anext(items) == (0, "first")
        await sources.started[1].wait()
        assert not sources.started[2].is_set()
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
    async with asyncio.timeout(10):
        with pytest.raises(ValueError, match="1"):
            async for item in in_order(sources.all(), width=3, tasks=Tasks()):
                seen.append(item)  # noqa: PERF401 - the loop raises
    assert seen == [(0, "first"), (0, "last"), (1, "first")]
    assert sorted(sources.closed) == [0, 1, 2]


async def test_closing_early_waits_for_every_source_to_clean_up():
    """A client that leaves frees all that worked for it."""
    sources = Sources(2)
    async with asyncio.timeout(10):
        async with aclosing(in_order(sources.all(), width=2, tasks=Tasks())) as items:
            await anext(items)
            await sources.started[1].wait()
        assert sorted(sources.closed) == [0, 1]
