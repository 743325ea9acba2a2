"""Random calls, cancellations and kills against real children: nothing hangs, nothing is left.

Each storm is bounded and repeatable: what happens next is drawn from a fixed seed. It found what
careful tests had missed, so it is kept.
"""

import asyncio
import contextlib
import os
import random
import signal

import pytest

from support.processes import begun
from support.program_engine import ask
from whisper_router.errors import EngineCrashed, EngineStartFailed
from whisper_router.supervisor.machine import State

ROUNDS = 8
CALLERS = 12


def watch_loop() -> list[dict]:
    """Collect the errors that nobody handled."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def storm(dice: random.Random, call) -> list[BaseException]:
    """Make many calls at once and cancel some; return the errors that nobody expects."""
    errors = []
    for _ in range(ROUNDS):
        tasks = [begun(call()) for _ in range(CALLERS)]
        for task in tasks:
            if dice.random() < 0.2:
                asyncio.get_running_loop().call_later(dice.random() * 0.03, task.cancel)
        async with asyncio.timeout(20):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        errors += [
            result
            for result in results
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError)
        ]
    return errors


def kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("seed", "habits"),
    [(1, ()), (2, ("--ignore-sigterm", "--deaf")), (3, ("--unready",)), (4, ("--hang",))],
)
async def test_a_storm_of_starts_stops_and_kills_leaves_a_sound_process(make_process, seed, habits):
    """Whatever comes in whatever order, the process ends where it can begin again."""
    unexpected, dice = watch_loop(), random.Random(seed)
    process = make_process(*habits, silence_s=0.08 if seed > 2 else 20, grace_s=0.02)

    async def call() -> None:
        kind = dice.random()
        await asyncio.sleep(dice.random() * 0.02)
        if kind < 0.6:
            with contextlib.suppress(EngineStartFailed):
                await process.ensure_ready()
        elif kind < 0.9:
            await process.stop()
        else:
            kill(process.pid)

    assert await storm(dice, call) == []
    async with asyncio.timeout(20):
        await process.wait_for(State.READY, State.STOPPED)
        await process.close()
    assert unexpected == []
    assert process.starts > 1


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_storm_of_leases_unloads_and_kills_loses_no_worker(make_pool, seed):
    """After all of it every worker is free and serves, and none was leased twice at once."""
    unexpected, dice = watch_loop(), random.Random(seed)
    pool = make_pool(
        workers=2,
        processes=2,
        grace_s=0.02,
        idle_unload_s=0.01,
        max_requests=5,
        recycle_idle_s=0.001,
    )
    busy, most = 0, 0

    async def use() -> None:
        nonlocal busy, most
        async with pool.lease() as lease:
            busy, most = busy + 1, max(most, busy + 1)
            try:
                await ask(lease.http, lease.endpoint)
            finally:
                busy -= 1

    async def call() -> None:
        kind = dice.random()
        await asyncio.sleep(dice.random() * 0.02)
        with contextlib.suppress(EngineCrashed, EngineStartFailed):
            if kind < 0.8:
                await use()
            elif kind < 0.9:
                await pool.unload()
            elif pids := (await pool.status()).pids:
                kill(dice.choice(pids))

    async def use_as_callers_do() -> None:
        """A process that was killed a moment ago may still be leased: who meets it tries again.

        There are two processes, and both may have been killed.
        """
        for _ in range(2):
            with contextlib.suppress(EngineCrashed):
                return await use()
        return await use()

    assert await storm(dice, call) == []
    async with asyncio.timeout(20):
        await asyncio.gather(*(use_as_callers_do() for _ in range(8)))
        status = await pool.status()
        assert (status.leases, status.waiting, status.capacity) == (0, 0, 4)
    assert most <= 4
    assert unexpected == []
