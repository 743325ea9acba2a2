"""Chunks whose time is over: who is ended, and who is spared. See `overruns`."""

import asyncio
import os

from support.processes import gone, is_alive, written
from support.program_engine import ask
from whisper_router.supervisor.machine import State


async def test_one_worker_can_be_ended_and_the_process_goes_on(make_pool, tmp_path):
    """A chunk that overran costs one worker, also one that ignores SIGTERM."""
    pool = make_pool("--grandchild", str(tmp_path / "pid"))
    async with asyncio.timeout(15), pool.lease() as lease:
        worker = int(await written(tmp_path / "pid"))
        pool.took_up(lease, worker)
        assert await pool.kill_worker(lease, worker)
        await gone(worker)
        assert await ask(lease.http, lease.endpoint) == " hello"


async def test_only_workers_of_the_pool_can_be_ended(make_pool):
    """A pid that an engine made up is not signalled."""
    pool = make_pool()
    async with asyncio.timeout(15), pool.lease() as lease:
        assert not await pool.kill_worker(lease, os.getpid())
        assert not await pool.kill_worker(lease, 1)


async def test_a_worker_that_has_let_go_of_a_chunk_is_spared(make_pool, tmp_path):
    """It was abandoned in time after all, and works for somebody else by now."""
    pool = make_pool("--grandchild", str(tmp_path / "pid"), workers=2)
    async with asyncio.timeout(15), pool.lease() as late:
        worker = int(await written(tmp_path / "pid"))
        pool.took_up(late, worker)
        async with pool.lease() as other:
            pool.took_up(other, worker)
            assert not await pool.kill_worker(late, worker)
            assert is_alive(worker)
        assert await pool.kill_worker(late, worker)  # that one is done: nobody else has it
        await gone(worker)


async def test_a_process_that_took_up_no_work_is_ended_unless_it_works_for_others(make_pool):
    """Its workers may just be busy with the chunks of others."""
    pool = make_pool(workers=2)
    async with asyncio.timeout(15), pool.lease() as lease:
        async with pool.lease() as other:
            assert other.pid == lease.pid
            pool.took_up(other, 1)
            pool.distrust(lease, "it did nothing")
            assert pool.brief().state is State.READY
        pool.distrust(lease, "it did nothing")
        await gone(lease.pid)
    async with asyncio.timeout(15), pool.lease() as lease:
        assert await ask(lease.http, lease.endpoint) == " hello"


async def test_a_process_that_may_have_lost_a_worker_is_replaced_once_it_is_idle(make_pool):
    """A frozen one would be missed for ever, as nobody knows which one it is."""
    pool = make_pool(workers=2)
    async with asyncio.timeout(15):
        async with pool.lease() as lease, pool.lease() as other:
            pool.took_up(other, 1)
            pool.distrust(lease, "it did nothing")
            assert pool.brief().state is State.READY
        await gone(lease.pid)
        async with pool.lease() as later:
            assert later.pid != lease.pid


async def test_a_process_that_hangs_is_ended_however_many_wait_for_it(make_pool):
    """There may always be another lease; what none of its workers has taken up is no sign of life.

    Otherwise each chunk of an alias in steady use would time out, for ever.
    """
    pool = make_pool(workers=2)
    async with asyncio.timeout(15), pool.lease() as lease, pool.lease() as other:
        assert other.pid == lease.pid
        pool.distrust(lease, "it did nothing")
        await gone(lease.pid)
