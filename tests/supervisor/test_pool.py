"""Leases: who gets which worker, when processes start and when they are unloaded."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

from support.processes import begun, is_alive
from support.program_engine import ProcesslessEngine, ProgramEngine, TcpProgramEngine, ask
from whisper_router.errors import (
    ConfigurationError,
    EngineCrashed,
    EngineHeldOff,
    EngineInterrupted,
    EngineStartFailed,
    EngineStartInterrupted,
    ModelUnavailable,
    ShuttingDown,
    Unavailable,
)
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State


async def state_of(pool, state: State) -> None:
    """Return when the pool's only process is in the state."""
    await pool._slots[0].process.wait_for(state)


async def test_a_lease_starts_a_process_and_speaks_with_it(make_pool):
    """The first request finds an engine that serves."""
    pool = make_pool()
    async with asyncio.timeout(15), pool.lease() as lease:
        assert await ask(lease.http, lease.endpoint) == " hello"
        assert is_alive(lease.pid)
        assert lease.ready.accelerator == "cpu"
        assert lease.alias == "test"


async def test_a_tcp_engine_is_leased_the_same_way(make_pool):
    """What kind of endpoint it is makes no difference to who leases."""
    pool = make_pool(engine=TcpProgramEngine())
    async with asyncio.timeout(15), pool.lease() as lease:
        assert await ask(lease.http, lease.endpoint) == " hello"


async def test_many_requests_for_a_cold_alias_start_it_once(make_pool):
    """Single flight, also of the model's download."""
    fetched = []

    async def fetch() -> Path:
        fetched.append(1)
        await asyncio.sleep(0)
        return Path("/dev/null")

    pool = make_pool(workers=3, model=fetch)

    async def use() -> int:
        async with pool.lease() as lease:
            await ask(lease.http, lease.endpoint)
            return lease.pid

    async with asyncio.timeout(15):
        pids = await asyncio.gather(*(use() for _ in range(12)))
    status = await pool.status()
    assert len(set(pids)) == 1
    assert status.starts == 1
    assert len(fetched) == 2  # for the plan and for the start, not for each request


async def test_no_more_leases_than_workers_and_first_come_first_served(make_pool):
    """The third waits for one of two workers, and the fourth for the third's turn."""
    pool = make_pool(workers=2)
    order, ends = [], [asyncio.Event() for _ in range(4)]
    began = [asyncio.Event() for _ in range(4)]

    async def use(number: int) -> None:
        async with pool.lease():
            order.append(number)
            began[number].set()
            await ends[number].wait()

    async with asyncio.timeout(15), asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(use(number))
        await began[1].wait()
        status = await pool.status()
        assert (status.leases, status.waiting, status.capacity) == (2, 2, 2)
        ends[1].set()
        await began[2].wait()
        assert order == [0, 1, 2]
        for end in ends:
            end.set()
    assert order == [0, 1, 2, 3]


async def test_leases_are_spread_over_processes(make_pool):
    """Two processes of one worker each serve two requests at once."""
    pool = make_pool(processes=2)
    async with asyncio.timeout(15):
        async with pool.lease() as first, pool.lease() as second:
            assert first.pid != second.pid
            status = await pool.status()
            assert sorted(status.pids) == sorted([first.pid, second.pid])
            assert (status.leases, status.capacity) == (2, 2)
        async with pool.lease():
            pass
    assert (await pool.status()).starts == 2


async def test_one_request_at_a_time_starts_one_process_of_two(make_pool):
    """Processes are started when they are needed."""
    pool = make_pool(processes=2)
    async with asyncio.timeout(15):
        for _ in range(3):
            async with pool.lease():
                pass
    assert [process.state for process in (await pool.status()).processes] == [
        State.READY,
        State.STOPPED,
    ]


async def test_an_idle_process_is_unloaded_and_comes_back_on_demand(make_pool):
    """Memory is given back after the last completion."""
    pool = make_pool(idle_unload_s=0.1)
    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            first = lease.pid
        await state_of(pool, State.STOPPED)
        assert not is_alive(first)
        async with pool.lease() as lease:
            assert lease.pid != first
    assert (await pool.status()).crashes == 0


async def test_a_process_is_never_unloaded_under_a_lease(make_pool):
    """Idle means: since the last completion."""
    pool = make_pool(workers=2, idle_unload_s=0.05)
    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            for _ in range(3):
                async with pool.lease() as other:
                    assert other.pid == lease.pid
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await state_of(pool, State.STOPPING)
            assert await ask(lease.http, lease.endpoint) == " hello"
        await state_of(pool, State.STOPPED)


async def test_a_request_at_the_moment_of_the_unload_gets_a_fresh_process(make_pool):
    """Who comes while the old process is stopping waits for the next one."""
    pool = make_pool("--ignore-sigterm", idle_unload_s=0.05, grace_s=0.3)
    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            first = lease.pid
        await state_of(pool, State.STOPPING)
        async with pool.lease() as lease:
            assert lease.pid != first
            assert await ask(lease.http, lease.endpoint) == " hello"


async def test_a_start_whose_requests_all_left_is_unloaded_when_idle(make_pool, tmp_path):
    """A client that gives up does not abort the start, and the result is not kept for ever."""
    pool = make_pool("--wait-for", str(tmp_path / "go"), idle_unload_s=0.05)
    async with asyncio.timeout(15):
        request = begun(pool.warm())
        while (await pool.status()).pids == []:  # noqa: ASYNC110 - being planned is no state
            await asyncio.sleep(0.002)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        (tmp_path / "go").touch()
        await state_of(pool, State.READY)
        await state_of(pool, State.STOPPED)
    assert (await pool.status()).waiting == 0


async def test_after_a_crash_in_mid_answer_the_very_next_lease_works(make_pool, tmp_path):
    """The retry is never sent to the dying process."""
    pool = make_pool(engine=CrashesOnce(tmp_path / "crashed"))
    async with asyncio.timeout(20):
        with pytest.raises(EngineCrashed):
            async with pool.lease() as lease:
                first = lease.pid
                await ask(lease.http, lease.endpoint)
        async with pool.lease() as lease:
            assert lease.pid != first
            assert await ask(lease.http, lease.endpoint) == " hello"
    status = await pool.status()
    assert (status.crashes, status.starts) == (1, 2)
    assert status.last_error == "Model 'test' crashed: killed by SIGSEGV"


class CrashesOnce(ProgramEngine):
    """Its first process crashes in the middle of an answer, the later ones do not."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def launch(self, model, options, endpoint):
        launch = super().launch(model, options, endpoint)
        script = f"""
            if test -e {self._marker}; then exec "$@"; fi
            touch {self._marker}
            program=$1; shift; isolated=$1; shift; bare=$1; shift; file=$1; shift
            exec "$program" "$isolated" "$bare" "$file" --die-in-transcribe "$@"
        """
        return type(launch)(argv=("/bin/sh", "-c", script, "sh", *launch.argv))


async def test_a_request_that_waits_while_the_process_crashes_gets_the_next_one(make_pool):
    """A crash of a ready process is no failure for those who wait."""
    pool = make_pool()

    async def use() -> int:
        async with pool.lease() as lease:
            return lease.pid

    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            first = lease.pid
            waiting = begun(use())
            await asyncio.sleep(0)
            os.kill(first, signal.SIGKILL)
            await state_of(pool, State.STOPPED)
        assert await waiting != first


async def test_the_session_of_a_dead_process_refuses_connections_but_is_not_closed(make_pool):
    """Who holds a lease sees an error that engines know how to name."""
    pool = make_pool()
    async with asyncio.timeout(15):
        with pytest.raises(EngineCrashed):
            async with pool.lease() as lease:
                os.kill(lease.pid, signal.SIGKILL)
                await state_of(pool, State.STOPPED)
                await ask(lease.http, lease.endpoint)
        assert lease.http.closed or await closed_soon(lease.http)


@pytest.mark.parametrize(
    ("signum", "kind"),
    [
        (signal.SIGKILL, EngineInterrupted),
        (signal.SIGTERM, EngineInterrupted),
        (signal.SIGSEGV, EngineCrashed),
        (signal.SIGABRT, EngineCrashed),
    ],
)
async def test_an_answer_that_breaks_off_is_told_apart_by_how_the_process_ended(
    make_pool, tmp_path, signum, kind
):
    """An engine without workers of its own cannot know; the router has seen it end."""
    pool = make_pool("--hold", str(tmp_path / "never"))
    async with asyncio.timeout(15):
        with pytest.raises(EngineCrashed) as caught:
            async with pool.lease() as lease:
                answer = begun(ask(lease.http, lease.endpoint))
                await pool.status()
                os.kill(lease.pid, signum)
                await answer
    assert type(caught.value) is kind


async def test_what_shared_a_process_that_we_end_is_interrupted(make_pool, tmp_path):
    """One chunk overran its time; the other one has done nothing."""
    pool = make_pool("--ignore-sigterm", "--hold", str(tmp_path / "never"), workers=2, grace_s=0.1)
    async with asyncio.timeout(15):
        with pytest.raises(EngineInterrupted):
            async with pool.lease() as late, pool.lease() as other:
                answer = begun(ask(other.http, other.endpoint))
                assert await pool.kill_worker(late, late.pid)
                await answer


async def closed_soon(http) -> bool:
    while not http.closed:  # noqa: ASYNC110 - a session sets no event
        await asyncio.sleep(0)
    return True


async def test_a_failed_start_is_told_to_all_who_wait_and_tried_again_for_the_next(make_pool):
    """One start, one failure; nobody is stuck, and there is no loop of starts."""
    pool = make_pool("--say", r"error: no\n", "--exit-after-say", "1", processes=2)
    async with asyncio.timeout(15):
        results = await asyncio.gather(*(pool.warm() for _ in range(4)), return_exceptions=True)
        assert {str(result) for result in results} == {
            "Model 'test' could not be started: exit code 1: no"
        }
        starts = (await pool.status()).starts
        assert starts <= 2
        with pytest.raises(EngineStartFailed):
            await pool.warm()
    assert (await pool.status()).last_error.endswith("exit code 1: no")


async def test_a_model_that_cannot_be_fetched_is_told_and_fetched_again_for_the_next(make_pool):
    """The store's own error goes to the client, and the next request asks anew."""
    tries = []

    async def fetch() -> Path:
        tries.append(1)
        if len(tries) == 1:
            raise ModelUnavailable("Put x.bin into /models.")
        return Path("/dev/null")

    pool = make_pool(model=fetch)
    async with asyncio.timeout(15):
        with pytest.raises(ModelUnavailable, match=r"Put x\.bin"):
            await pool.warm()
        assert (await pool.status()).last_error == "Put x.bin into /models."
        await pool.warm()
    assert (await pool.status()).last_error is None


async def test_a_fetch_outlives_the_request_that_began_it(make_pool):
    """Another request for the same model waits on the same download."""
    fetched = asyncio.Event()

    async def fetch() -> Path:
        await fetched.wait()
        return Path("/dev/null")

    pool = make_pool(model=fetch)
    async with asyncio.timeout(15):
        first, second = begun(pool.warm()), begun(pool.warm())
        await asyncio.sleep(0)
        first.cancel()
        assert (await pool.status()).state is State.STARTING
        fetched.set()
        await second
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_options_that_cannot_work_here_are_told(make_pool):
    """A plugin may find out late that there is no such accelerator."""

    class NoCuda(ProgramEngine):
        def launch(self, model, options, endpoint):
            raise ConfigurationError("there is no cuda here")

    pool = make_pool(engine=NoCuda())
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="there is no cuda here"):
            await pool.warm()


async def test_a_full_queue_refuses(make_pool):
    """Waiting is bounded."""
    pool = make_pool(queue_limit=1)
    async with asyncio.timeout(15), pool.lease():
        waiting = begun(pool.warm())
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="Too many requests"):
            await pool.warm()
        waiting.cancel()


async def test_a_request_that_leaves_in_the_moment_of_its_grant_gives_it_back(make_pool):
    """A lease cannot be lost to a client that has gone."""
    pool = make_pool()
    async with asyncio.timeout(15):
        async with pool.lease():
            waiting = begun(pool.warm())
            await asyncio.sleep(0)
        waiting.cancel()  # granted by the end of the lease, not yet run
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await pool.warm()
    assert (await pool.status()).leases == 0


async def test_ending_the_process_itself_makes_room_for_another(make_pool):
    """An engine without workers of its own is ended as a whole."""
    pool = make_pool()
    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            first = lease.pid
            assert await pool.kill_worker(lease, first)
            await state_of(pool, State.STOPPED)
        async with pool.lease() as lease:
            assert lease.pid != first
    assert "overran its time" in (await pool.status()).last_error


async def test_unload_waits_for_the_leases_and_keeps_new_ones_waiting(make_pool):
    """Whoever asked before is served, whoever asks during it gets a fresh process."""
    pool = make_pool(workers=2)

    async def use() -> int:
        async with pool.lease() as lease:
            return lease.pid

    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            first = lease.pid
            unload = begun(pool.unload())
            await asyncio.sleep(0)
            late = begun(use())
            await asyncio.sleep(0)
            assert await ask(lease.http, lease.endpoint) == " hello"
            assert not late.done()
        await unload
        assert await late != first


async def test_close_refuses_who_waits_and_who_comes(make_pool):
    """After close nothing is started any more."""
    pool = make_pool("--hang")
    async with asyncio.timeout(15):
        waiting = begun(pool.warm())
        while (await pool.status()).pids == []:  # noqa: ASYNC110 - being planned is no state
            await asyncio.sleep(0.002)
        [pid] = (await pool.status()).pids
        await pool.close()
        with pytest.raises(ShuttingDown):
            await waiting
        with pytest.raises(ShuttingDown):
            await pool.warm()
    assert not is_alive(pid)
    assert (await pool.status()).state is State.CLOSED


async def test_close_interrupts_a_download(make_pool):
    """A shutdown does not wait for gigabytes."""

    async def never() -> Path:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    pool = make_pool(model=never)
    async with asyncio.timeout(15):
        waiting = begun(pool.warm())
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(ShuttingDown):
            await waiting


async def test_the_status_tells_what_runs(make_pool):
    """Before, while and after a process serves."""
    pool = make_pool(workers=2)
    before = await pool.status()
    assert (before.state, before.capacity, before.model) == (State.STOPPED, None, None)
    async with asyncio.timeout(15):
        async with pool.lease() as lease:
            status = await pool.status()
    assert status.state is State.READY
    assert status.pids == [lease.pid]
    assert (status.engine, status.accelerator, status.requested) == ("program", "cpu", "auto")
    assert (status.leases, status.capacity, status.model) == (1, 2, Path("/dev/null"))
    assert 1_000_000 < status.rss_bytes < 1_000_000_000


async def test_an_engine_without_a_process_is_leased_too(make_pool):
    """Its limit is its own concurrency; to start it is to ask whether it is there."""
    pool = make_pool(engine=ProcesslessEngine(), idle_unload_s=0.01)
    async with asyncio.timeout(15):
        async with pool.lease() as first, pool.lease() as second:
            assert first.http is second.http
            assert first.pid is None
            assert first.ready is not None
            third = begun(pool.warm())
            await asyncio.sleep(0)
            assert not third.done()
        await third
        status = await pool.status()
        assert (status.state, status.starts, status.capacity) == (State.READY, 1, 2)
        await pool.unload()
        await pool.warm()
        await pool.close()
    assert first.http.closed


async def refusals(pool, times: int) -> list[type[Exception]]:
    """Ask for a lease so often; return how each was refused."""
    found = []
    for _ in range(times):
        with pytest.raises(EngineStartFailed) as caught:
            async with pool.lease():
                pass
        found.append(caught.type)
    return found


async def test_a_process_that_never_starts_is_left_alone_for_a_while(make_pool):
    """The fourth is refused at once, told when to come back, and nothing is started for it."""
    pool = make_pool("--say", "error: no such device\\n", "--exit-after-say", "1")
    async with asyncio.timeout(15):
        assert await refusals(pool, 4) == [*[EngineStartFailed] * 3, EngineHeldOff]
        with pytest.raises(
            EngineHeldOff, match=r"no such device\. That happened 3 times"
        ) as caught:
            await pool.warm()
    assert caught.value.retry_after_s == 1
    assert (await pool.status()).starts == 3
    assert pool.brief().breaker is BreakerState.OPEN


async def test_after_the_pause_one_attempt_is_made_and_may_close_the_breaker(make_pool, tmp_path):
    """Without a longest pause it is over at once."""
    mended = tmp_path / "mended"
    pool = make_pool("--unless", str(mended), longest_pause_s=0.0)
    async with asyncio.timeout(15):
        await refusals(pool, 5)
        assert pool.brief().breaker is BreakerState.HALF_OPEN
        mended.touch()
        async with pool.lease() as lease:
            assert await ask(lease.http, lease.endpoint) == " hello"
    assert pool.brief().breaker is BreakerState.CLOSED


async def test_a_process_that_dies_of_each_chunk_is_started_for_the_next(make_pool):
    """The audio may be the reason: one client's audio does not close the door to the others."""
    pool = make_pool("--die-in-transcribe")
    async with asyncio.timeout(20):
        for _ in range(5):
            with pytest.raises(EngineCrashed):
                async with pool.lease() as lease:
                    await ask(lease.http, lease.endpoint)
            await state_of(pool, State.STOPPED)
    assert pool.brief().breaker is BreakerState.CLOSED


async def test_starts_that_others_end_are_no_failures(make_pool):
    """An operator's `kill` is no sign of a broken engine."""
    pool = make_pool("--raise-signal", str(signal.SIGTERM.value))
    async with asyncio.timeout(20):
        assert await refusals(pool, 5) == [EngineStartInterrupted] * 5
    assert pool.brief().breaker is BreakerState.CLOSED


async def test_a_pinned_pool_is_not_unloaded_until_it_is_unpinned(make_pool):
    """However idle it is."""
    pool = make_pool(idle_unload_s=0.01)
    pool.pin(is_pinned=True)
    async with asyncio.timeout(15):
        await pool.warm()
        process = pool._slots[0].process
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await process.wait_for(State.STOPPED)
        assert (await pool.status()).is_pinned
        pool.pin(is_pinned=False)
        await process.wait_for(State.STOPPED)


async def test_a_forced_unload_does_not_wait_for_leases(make_pool):
    """Their chunks are interrupted, which is no fault of the audio."""
    pool = make_pool("--hold", "/no/such/file")

    async def use() -> None:
        async with pool.lease() as lease:
            await ask(lease.http, lease.endpoint)

    async with asyncio.timeout(15):
        await pool.warm()
        using = begun(use())
        while (await pool.status()).leases == 0:
            pass
        await pool.unload(force=True)
        with pytest.raises(EngineInterrupted):
            await using
    assert pool.brief().state is State.STOPPED


async def test_what_processes_print_is_followed_over_a_restart(make_pool):
    """The last lines first, then those of the next process."""
    pool = make_pool("--say", "here I am\\n")
    async with asyncio.timeout(15), contextlib.aclosing(pool.follow(5)) as batches:
        assert await anext(batches) == []
        await pool.warm()
        lines: list[str] = []
        while len(lines) < 1:
            lines += await anext(batches)
        await pool.unload()
        await pool.warm()
        while len(lines) < 2:
            lines += await anext(batches)
    assert lines == ["here I am"] * 2
    assert pool.output(1) == ["here I am"]
