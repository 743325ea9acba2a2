"""Processes that have served long enough are replaced while nobody needs them."""

import asyncio
import os
from collections import Counter
from pathlib import Path

from support.processes import begun, gone, is_alive, written
from support.program_engine import ask
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.pool import ModelPool

LIMIT_S = 30


async def use(pool: ModelPool) -> int:
    async with pool.lease() as lease:
        await ask(lease.http, lease.endpoint)
        return lease.pid


async def recycled(pool: ModelPool, count: int = 1) -> None:
    """Return once processes were replaced so often and those that run serve."""
    while (  # noqa: ASYNC110 - another task sets no event
        (await pool.status()).recycles < count or pool.brief().state is not State.READY
    ):
        await asyncio.sleep(0.005)


async def test_a_process_that_has_served_its_chunks_is_replaced_in_idle_time(make_pool):
    """And started again at once: the next request does not pay for the load."""
    pool = make_pool(max_requests=3, recycle_idle_s=0.05)
    async with asyncio.timeout(LIMIT_S):
        first = {await use(pool) for _ in range(2)}
        assert (await pool.status()).processes[0].chunks == 2
        first.add(await use(pool))
        assert len(first) == 1
        await recycled(pool)
        status = await pool.status()
        assert not first & set(status.pids)
        assert (status.starts, status.crashes, status.processes[0].chunks) == (2, 0, 0)
        assert await use(pool) in status.pids


async def test_a_process_is_not_replaced_between_two_chunks_of_a_file(make_pool):
    """Nobody holds a lease for a moment then; that is no idleness."""
    pool = make_pool(max_requests=2, recycle_idle_s=600)
    async with asyncio.timeout(LIMIT_S):
        assert len({await use(pool) for _ in range(3)}) == 1
        assert (await pool.status()).recycles == 0


async def test_one_that_never_rests_is_replaced_at_twice_its_limit(make_pool, tmp_path):
    """Its leases end, and who waits gets the fresh one."""
    hold = tmp_path / "hold"
    pool = make_pool("--hold", str(hold), workers=2, max_requests=1, recycle_idle_s=600)
    async with asyncio.timeout(LIMIT_S):
        running = [begun(use(pool)) for _ in range(6)]
        hold.touch()
        served = Counter([await task for task in running])
        assert len(served) > 1
        assert max(served.values()) <= 3, "twice the limit, and what ran beside the last one"
        assert (await pool.status()).crashes == 0


async def test_of_several_processes_one_is_replaced_at_a_time(make_pool, tmp_path):
    """The others serve meanwhile."""
    hold = tmp_path / "hold"
    pool = make_pool("--hold", str(hold), processes=2, max_requests=1, recycle_idle_s=0.01)
    async with asyncio.timeout(LIMIT_S):
        both = [begun(use(pool)) for _ in range(2)]
        while (await pool.status()).leases < 2:  # noqa: ASYNC110 - another task sets no event
            await asyncio.sleep(0.005)
        hold.touch()
        assert len({await task for task in both}) == 2
        while (await pool.status()).recycles < 2:
            states = [slot.process.state for slot in pool._slots]
            assert State.READY in states, states
            await asyncio.sleep(0.005)


async def test_a_process_that_rests_is_replaced_although_another_one_cannot_be(make_pool):
    """The other one is over its limit, too, but at work."""
    pool = make_pool(processes=2, workers=2, max_requests=2, recycle_idle_s=0.01)
    async with asyncio.timeout(LIMIT_S), pool.lease() as busy:
        assert {await use(pool) for _ in range(2)} == {busy.pid}
        async with pool.lease():
            assert busy.pid not in {await use(pool) for _ in range(2)}
            await recycled(pool)
        assert busy.pid in (await pool.status()).pids


async def test_a_process_whose_memory_has_grown_is_replaced(make_pool):
    """What the first chunks take is what the engine needs; what comes on top is lost."""
    leaking = make_pool(
        "--leak", "4", max_rss_growth_bytes=20 << 20, recycle_idle_s=0.01, measure_every_s=0
    )
    async with asyncio.timeout(LIMIT_S):
        chunks = 0
        while (await leaking.status()).recycles == 0:
            await use(leaking)
            chunks += 1
        assert chunks > 5
        await recycled(leaking)
        assert (await leaking.status()).rss_bytes < 24 << 20


async def test_workers_that_told_their_pids_are_replaced_without_their_process(make_pool, tmp_path):
    """The process forks others, which takes it milliseconds."""
    pool = make_pool("--grandchild", str(tmp_path / "pid"), max_requests=1, recycle_idle_s=0.01)
    async with asyncio.timeout(LIMIT_S):
        async with pool.lease() as lease:
            worker = int(await written(tmp_path / "pid"))
            pool.took_up(lease, worker)
        await gone(worker)
        await recycled(pool)
        assert is_alive(lease.pid)
        status = await pool.status()
        assert (status.starts, status.recycles, status.processes[0].chunks) == (1, 1, 0)


async def test_a_replaced_model_file_is_loaded_once_nobody_uses_the_old_one(make_pool, tmp_path):
    """Requests that come meanwhile are served by what is loaded."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")

    async def model() -> Path:
        return path

    pool = make_pool(model=model, recycle_idle_s=0.01, measure_every_s=0)
    async with asyncio.timeout(LIMIT_S):
        first = await use(pool)
        path.write_bytes(b"another one")
        assert await use(pool) == first
        await recycled(pool)
        assert first not in (await pool.status()).pids
        second = await use(pool)
        path.unlink()
        for _ in range(3):
            assert await use(pool) == second
        assert (await pool.status()).recycles == 1


async def test_without_its_model_file_a_process_serves_on_whatever_its_limits(make_pool, tmp_path):
    """It could not be started again. That its workers ended by themselves makes no difference."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")

    async def model() -> Path:
        return path

    pool = make_pool(model=model, max_requests=2, recycle_idle_s=0)
    async with asyncio.timeout(LIMIT_S):
        first = await use(pool)
        path.unlink()
        async with pool.lease() as lease:
            pool.took_up(lease, os.getpid())  # none of its family
        assert {await use(pool) for _ in range(6)} == {first}
        assert (await pool.status()).recycles == 0


async def test_an_unload_while_a_process_is_replaced_leaves_it_unloaded(make_pool):
    """Who unloads it wants its memory back."""
    pool = make_pool("--ignore-sigterm", max_requests=1, recycle_idle_s=0, grace_s=0.2)
    async with asyncio.timeout(LIMIT_S):
        await use(pool)
        while pool.brief().state is not State.STOPPING:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
        await pool.unload()
        assert pool.brief().state is State.STOPPED
        await use(pool)
        assert (await pool.status()).starts == 2


async def test_a_process_that_is_not_over_its_limit_any_more_is_leased_again(make_pool):
    """Memory may shrink before the last lease has ended: nobody would lift the ban."""
    pool = make_pool(workers=2, max_rss_growth_bytes=1 << 40)
    async with asyncio.timeout(LIMIT_S):
        pid = await use(pool)
        [slot] = pool._slots
        slot.is_withheld = True
        assert await use(pool) == pid
