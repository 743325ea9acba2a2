"""Pools of real processes that do not fit into the memory together."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from support.processes import begun, gone, is_alive
from support.program_engine import ask
from whisper_router.errors import EngineStartOutOfMemory, InsufficientMemory
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.memory import MIB, MemoryBroker
from whisper_router.supervisor.pool import ModelPool

LIMIT_S = 30
ONE, BUDGET = 60 * MIB, 100 * MIB


@pytest.fixture
def make(make_pool) -> Callable[..., ModelPool]:
    """Make pools that share a budget for one of them."""
    memory = MemoryBroker(budget_bytes=BUDGET, min_residency_s=0.1)

    def make(alias: str, *flags: str, **fields) -> ModelPool:
        known = {"memory": memory, "memory_bytes": ONE}
        return make_pool(*flags, alias=alias, **known | fields)

    return make


async def use(pool: ModelPool) -> int:
    async with pool.lease() as lease:
        assert await ask(lease.http, lease.endpoint) == " hello"
        return lease.pid


async def busy_with(pool: ModelPool) -> asyncio.Task[int]:
    """Return a use of the pool that has its lease."""
    await pool.warm()
    using = begun(use(pool))
    while (await pool.status()).leases == 0:
        pass
    return using


async def test_an_idle_alias_makes_room_for_another_and_comes_back(make):
    """Its process is gone before the other one starts."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        await use(second)
        assert not is_alive(pid)
        assert first.brief().state is State.STOPPED
        await use(first)
        assert second.brief().state is State.STOPPED


async def test_a_lease_is_never_broken_to_make_room(make, tmp_path):
    """The other one waits until the chunk is done."""
    hold = tmp_path / "hold"
    first, second = make("first", "--hold", str(hold)), make("second")
    async with asyncio.timeout(LIMIT_S):
        busy = await busy_with(first)
        waiting = begun(use(second))
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
        assert first.brief().state is State.READY
        hold.touch()
        await busy
        await waiting


async def test_two_that_are_always_wanted_take_turns(make):
    """Ping-pong: no deadlock, nobody starves, every request is answered."""
    pools = [make("ping"), make("pong")]
    ended: list[str] = []

    async def client(pool: ModelPool) -> None:
        for _ in range(40):
            await use(pool)
            ended.append(pool.alias)

    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*(client(pool) for pool in pools for _ in range(3)))
    assert ended.count("ping") == ended.count("pong") == 120
    assert {"ping", "pong"} <= set(ended[:160])
    starts = [(await pool.status()).starts for pool in pools]
    assert all(1 <= count <= 60 for count in starts), starts


async def test_a_pinned_alias_makes_no_room(make):
    """Who does not fit beside it is told at once, and served when it is unpinned."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        first.pin(is_pinned=True)
        with pytest.raises(InsufficientMemory, match="pinned 'first'"):
            await use(second)
        assert is_alive(pid)
        first.pin(is_pinned=False)
        await use(second)


async def test_memory_of_a_process_that_died_is_given_back(make):
    """However it ended."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        os.kill(pid, signal.SIGKILL)
        await gone(pid)
        await use(second)


async def test_memory_of_a_start_that_failed_is_given_back(make):
    """And of one that is still starting when its alias is unloaded."""
    broken, slow = make("broken", "--exit-at-once", "3"), make("slow", "--hang")
    second = make("second")
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(Exception, match="exit code 3"):
            await use(broken)
        waiting = begun(use(slow))
        while slow.brief().state is not State.STARTING or not slow._slots:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        waiting.cancel()
        await slow.unload(force=True)
        await use(second)


async def test_who_leaves_the_line_holds_nobody_up(make, tmp_path):
    """A stop while waiting for room."""
    hold = tmp_path / "hold"
    first, second = make("first", "--hold", str(hold)), make("second")
    third = make("third", memory_bytes=BUDGET - ONE)
    async with asyncio.timeout(LIMIT_S):
        busy = await busy_with(first)
        waiting = begun(use(second))
        while second.brief().state is not State.STARTING:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        behind = begun(use(third))
        await second.unload(force=True)
        waiting.cancel()
        await behind
        hold.touch()
        await busy


async def test_what_was_measured_counts_from_then_on(make):
    """Once work was done: the estimate was 200 MiB, with nothing declared."""
    pool = make("small", memory_bytes=None)
    async with asyncio.timeout(LIMIT_S):
        await pool.warm()
        assert pool._slots[0].size_bytes >= 200 * MIB
        await use(pool)
        while pool._slots[0].size_bytes >= 200 * MIB:  # noqa: ASYNC110 - it is measured aside
            await asyncio.sleep(0.005)
    assert MIB < pool._slots[0].size_bytes < BUDGET


async def test_nobody_leaves_for_a_request_that_has_left(make, tmp_path):
    """And no engine is loaded for it."""
    hold = tmp_path / "hold"
    patient = MemoryBroker(budget_bytes=BUDGET, min_residency_s=600.0)
    first, second = (
        make("first", "--hold", str(hold), memory=patient),
        make("second", memory=patient),
    )
    async with asyncio.timeout(LIMIT_S):
        busy = await busy_with(first)
        waiting = begun(use(second))
        while not second._slots:  # noqa: ASYNC110 - it is being planned
            await asyncio.sleep(0.005)
        waiting.cancel()
        while second.brief().state is not State.STOPPED:  # noqa: ASYNC110 - nobody waits for it
            await asyncio.sleep(0.005)
        hold.touch()
        pid = await busy
        assert is_alive(pid)
        assert first.brief().state is State.READY


async def test_a_second_process_makes_the_first_one_no_younger(make_pool):
    """Its residency and its last use are its own."""
    pool = make_pool(processes=2)
    async with asyncio.timeout(LIMIT_S), pool.lease():
        since_s = pool._slots[0]._since_s
        async with pool.lease():
            assert pool._slots[0]._since_s == since_s
            assert pool._slots[1]._since_s > since_s


async def test_want_of_memory_does_not_open_the_breaker(make):
    """It is not the engine's fault, and over with an `unpin`."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        await use(first)
        first.pin(is_pinned=True)
        for _ in range(4):
            with pytest.raises(InsufficientMemory):
                await use(second)
        first.pin(is_pinned=False)
        await use(second)


@pytest.mark.parametrize("is_pinned", [False, True])
async def test_a_start_that_memory_ran_out_for_is_made_again_once_others_have_left(
    make_pool, is_pinned
):
    """Estimates are wrong at times, and a GPU may be shared with others; a pinned one stays."""
    memory = MemoryBroker()
    first = make_pool(alias="first", memory=memory)
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        first.pin(is_pinned=is_pinned)
        second = make_pool("--short-of-memory", str(pid), alias="second", memory=memory)
        while first._slots[0].occupant().is_wanted:  # noqa: ASYNC110 - it has just been used
            await asyncio.sleep(0.01)
        if is_pinned:
            with pytest.raises(EngineStartOutOfMemory, match="out of memory"):
                await use(second)
            assert is_alive(pid)
        else:
            await use(second)
            assert not is_alive(pid)
            assert (await second.status()).starts == 2


async def test_memory_that_is_short_all_the_same_is_an_error_after_two_attempts(make_pool):
    """Each request that comes later makes one or two of its own."""
    memory = MemoryBroker()
    first = make_pool(alias="first", memory=memory)
    second = make_pool("--short-of-memory", str(os.getpid()), alias="second", memory=memory)
    async with asyncio.timeout(LIMIT_S):
        await use(first)
        while first._slots[0].occupant().is_wanted:  # noqa: ASYNC110 - it has just been used
            await asyncio.sleep(0.01)
        with pytest.raises(EngineStartOutOfMemory) as caught:
            await use(second)
        assert (caught.value.status, caught.value.code) == (503, "engine_out_of_memory")
        assert second._slots[0].process.failed_starts == 2
        await use(first)
