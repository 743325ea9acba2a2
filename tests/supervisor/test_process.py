"""One process: every way to start, end and be left, with real children."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from support.processes import begun, gone, is_alive, written
from support.program_engine import ProgramEngine, TcpProgramEngine, program_argv
from whisper_router.engine_api import Endpoint, EndpointKind
from whisper_router.errors import (
    ConfigurationError,
    EngineStartFailed,
    EngineStartInterrupted,
    ModelUnavailable,
    ShuttingDown,
)
from whisper_router.supervisor.machine import State


async def spawned(process) -> int:
    """Return the pid of a child that is about to be started."""
    while process.pid is None:  # noqa: ASYNC110 - being started is no state
        await asyncio.sleep(0.002)
    return process.pid


async def test_concurrent_callers_start_one_process(make_process):
    """However many wait, one start serves them all, and a later caller finds it running."""
    process = make_process()
    async with asyncio.timeout(15):
        await asyncio.gather(*(process.ensure_ready() for _ in range(20)))
        pid = process.pid
        await process.ensure_ready()
    assert (process.pid, process.starts) == (pid, 1)


async def test_a_ready_process_tells_what_it_is(make_process):
    """What the engine says of itself is kept while it is ready."""
    process = make_process()
    async with asyncio.timeout(15):
        await process.ensure_ready()
        assert process.ready.accelerator == "cpu"
        assert process.ready.details["pid"] == str(process.pid)
        await process.stop()
    assert process.ready is None


async def test_stop_leaves_no_process_no_socket_and_no_record(make_process, surroundings):
    """After a stop nothing tells that there was a process."""
    process = make_process()
    async with asyncio.timeout(15):
        await process.ensure_ready()
        pid = process.pid
        assert len(list(surroundings.runs.path.rglob("*.json"))) == 1
        await process.stop()
    assert process.state is State.STOPPED
    assert not is_alive(pid)
    assert [path for path in surroundings.runs.path.rglob("*") if not path.is_dir()] == []


async def test_ensure_ready_during_a_slow_stop_waits_then_restarts(make_process):
    """A request that arrives while its engine is being unloaded is served by a fresh process."""
    process = make_process("--ignore-sigterm", grace_s=0.3)
    async with asyncio.timeout(15):
        await process.ensure_ready()
        first = process.pid
        async with asyncio.TaskGroup() as group:
            group.create_task(process.stop())
            await process.wait_for(State.STOPPING)
            group.create_task(process.ensure_ready())
    assert process.state is State.READY
    assert process.pid != first


async def test_a_program_that_ignores_sigterm_is_killed_after_the_grace(make_process):
    """Nobody may outstay the grace."""
    process = make_process("--ignore-sigterm", "--deaf", grace_s=0.1)
    async with asyncio.timeout(15):
        await process.ensure_ready()
        pid = process.pid
        await process.stop()
    assert not is_alive(pid)


async def test_an_early_exit_is_reported_at_once_with_its_code(make_process):
    """Nobody waits for a time-out when the child has ended."""
    process = make_process("--exit-at-once", "3", silence_s=60)
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match=r"'test' could not be started: exit code 3$"):
            await process.ensure_ready()
    assert process.state is State.STOPPED


async def test_exit_code_zero_during_the_start_is_a_failure(make_process):
    """A program that ends before it serves has failed, whatever it says."""
    process = make_process("--exit-at-once", "0")
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="exit code 0"):
            await process.ensure_ready()


async def test_a_start_killed_by_a_signal_names_it(make_process):
    """Users search for SIGSEGV, not for -11."""
    process = make_process("--raise-signal", str(signal.SIGSEGV.value))
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="killed by SIGSEGV"):
            await process.ensure_ready()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_a_start_that_somebody_else_ends_is_told_apart(make_process, signum):
    """Another start may succeed, so who waits may try again."""
    process = make_process("--hang")
    async with asyncio.timeout(15):
        waiting = begun(process.ensure_ready())
        os.kill(await started(process), signum)
        with pytest.raises(EngineStartInterrupted, match=f"killed by {signum.name}"):
            await waiting


async def test_a_start_that_the_kernel_ends_for_want_of_memory_has_failed(
    make_process, surroundings
):
    """The next one would need as much; the message says why, which SIGKILL does not."""
    surroundings.vmstat.write_text("oom_kill 3\n")
    process = make_process("--hang")
    async with asyncio.timeout(15):
        waiting = begun(process.ensure_ready())
        pid = await started(process)
        surroundings.vmstat.write_text("oom_kill 4\n")
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineStartFailed, match="SIGKILL, while memory ran out") as caught:
            await waiting
    assert not isinstance(caught.value, EngineStartInterrupted)


async def started(process) -> int:
    """Return the pid of a child that is being started; the caller sets the time limit."""
    while process.pid is None:  # noqa: ASYNC110 - being spawned is no state
        await asyncio.sleep(0.002)
    return process.pid


async def test_an_illegal_instruction_is_explained(make_process):
    """SIGILL means that the program was built for another CPU."""
    process = make_process("--raise-signal", str(signal.SIGILL.value))
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="SIGILL: it was built for a CPU with more"):
            await process.ensure_ready()


async def test_the_error_line_of_a_failed_start_is_told(make_process):
    """The engine's own last `error: ` line is the reason, other noise is not."""
    said = r"loading\nerror: no such model: x.bin\nbye\n"
    process = make_process("--say", said, "--exit-after-say", "1")
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match=r"exit code 1: no such model: x\.bin$"):
            await process.ensure_ready()


async def test_without_an_error_line_the_last_lines_are_told(make_process):
    """The last lines are better than nothing."""
    process = make_process("--say", r"a\nb\nc\nd\n", "--exit-after-say", "1")
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match=r"exit code 1: b \| c \| d$"):
            await process.ensure_ready()


async def test_a_missing_program_is_a_start_failure_each_time(make_process):
    """A wrong path neither hangs nor breaks the state."""
    process = make_process(argv=lambda _: ("/no/such/program",))
    async with asyncio.timeout(15):
        for _ in range(2):
            with pytest.raises(EngineStartFailed, match="cannot run '/no/such/program'"):
                await process.ensure_ready()
            assert process.state is State.STOPPED


async def test_all_waiters_get_the_failure_of_their_start(make_process, tmp_path):
    """One failed start is one failure, told to everybody who waited for it."""
    process = make_process("--wait-for", str(tmp_path / "go"), silence_s=0.3)
    async with asyncio.timeout(15):
        results = await asyncio.gather(
            *(process.ensure_ready() for _ in range(5)), return_exceptions=True
        )
    assert {type(result) for result in results} == {EngineStartFailed}
    assert process.starts == 1


async def test_an_unexpected_exit_leads_back_to_stopped_and_a_new_start_works(make_process):
    """A crash is counted, named, and repaired by the next caller."""
    process = make_process()
    async with asyncio.timeout(15):
        await process.ensure_ready()
        os.kill(process.pid, signal.SIGKILL)
        await process.wait_for(State.STOPPED)
        assert process.last_error == "Model 'test' crashed: killed by SIGKILL"
        await process.ensure_ready()
    assert (process.state, process.starts, process.crashes) == (State.READY, 2, 1)


async def test_an_error_of_a_start_that_went_well_does_not_explain_a_later_crash(make_process):
    """A device that was not there, say; it stays in the output."""
    process = make_process("--say", r"error: no GPU\n")
    with capture_logs() as logs:
        async with asyncio.timeout(15):
            await process.ensure_ready()
            pid = process.pid
            os.kill(pid, signal.SIGSEGV)
            await process.wait_for(State.STOPPED)
    assert [line["pid"] for line in logs if line["event"] == "engine_crashed"] == [pid]
    assert process.last_error == "Model 'test' crashed: killed by SIGSEGV"
    assert process.output().tail(2)[0] == "error: no GPU"


async def test_what_a_crashed_process_has_printed_is_not_told(make_process):
    """It may hold what was heard: administrators can read it, logs and answers do not show it."""
    process = make_process("--say", r"all I have heard\n")
    async with asyncio.timeout(15):
        await process.ensure_ready()
        os.kill(process.pid, signal.SIGSEGV)
        await process.wait_for(State.STOPPED)
    assert process.last_error == "Model 'test' crashed: killed by SIGSEGV"
    assert process.output().tail(2)[0] == "all I have heard"


async def test_a_dead_process_does_not_serve_before_the_loop_has_heard_of_it(make_process):
    """Whether it lives is asked of the system at the moment of use."""
    process = make_process()
    async with asyncio.timeout(15):
        await process.ensure_ready()
        assert process.serving() is not None
        os.kill(process.pid, signal.SIGKILL)
        limit_s = time.monotonic() + 5
        while process.serving() is not None:  # no await: the loop cannot hear of it
            assert time.monotonic() < limit_s
        await process.wait_for(State.STOPPED)


async def test_a_caller_that_leaves_does_not_undo_the_start(make_process, tmp_path):
    """Starts belong to the process, not to the request that came first."""
    process = make_process("--wait-for", str(tmp_path / "go"))
    async with asyncio.timeout(15):
        first = begun(process.ensure_ready())
        await process.wait_for(State.STARTING)
        second = begun(process.ensure_ready())
        await spawned(process)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        (tmp_path / "go").touch()
        await second
    assert process.state is State.READY


async def test_a_stop_while_starting_fails_the_waiters_and_leaves_no_child(make_process):
    """Who waits is told; the child of the aborted start is gone."""
    process = make_process("--hang", silence_s=60)
    async with asyncio.timeout(15):
        waiter = begun(process.ensure_ready())
        await process.wait_for(State.STARTING)
        pid = await spawned(process)
        await process.stop()
        with pytest.raises(EngineStartFailed, match="was stopped while it was starting"):
            await waiter
    assert process.state is State.STOPPED
    assert not is_alive(pid)


async def test_a_stop_before_the_first_step_of_a_start_leaves_no_child(make_process):
    """A task that is cancelled before it ran never runs its clean-up: nothing may depend on it."""
    process = make_process()
    async with asyncio.timeout(15):
        process.start()
        process.begin_stop()
        await process.wait_for(State.STOPPED)
        assert process.pid is None
        await process.ensure_ready()
    assert process.state is State.READY


async def test_close_while_starting_refuses_the_waiters_for_good(make_process):
    """After close there is no way back."""
    process = make_process("--hang", silence_s=60)
    async with asyncio.timeout(15):
        waiter = begun(process.ensure_ready())
        await process.wait_for(State.STARTING)
        pid = await spawned(process)
        await process.close()
        with pytest.raises(ShuttingDown):
            await waiter
        with pytest.raises(ShuttingDown):
            await process.ensure_ready()
    assert process.state is State.CLOSED
    assert not is_alive(pid)


async def test_a_silent_start_is_given_up(make_process):
    """No output, no CPU time, no memory: it hangs."""
    process = make_process("--hang", silence_s=0.4)
    async with asyncio.timeout(15):
        waiter = begun(process.ensure_ready())
        await process.wait_for(State.STARTING)
        pid = await spawned(process)
        with pytest.raises(EngineStartFailed, match=r"no sign of progress for 0\.4 s"):
            await waiter
    assert not is_alive(pid)


async def test_a_slow_start_that_shows_progress_is_waited_for(make_process):
    """The time-out counts silence, not length."""
    process = make_process("--slow-start", "3.0", silence_s=2.5)
    async with asyncio.timeout(15):
        await process.ensure_ready()
    assert process.state is State.READY


async def test_a_start_that_computes_for_ever_meets_the_limit(make_process):
    """CPU time is a sign of life, but not for ever."""
    process = make_process("--spin", silence_s=0.5, limit_s=1.0)
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match=r"was not ready after 1 s"):
            await process.ensure_ready()


async def test_answering_our_probes_is_no_sign_of_progress(make_process):
    """An engine that says "loading" for ever is given up."""
    process = make_process("--unready", silence_s=0.6)
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="no sign of progress"):
            await process.ensure_ready()


async def test_a_program_gone_after_a_good_run_is_a_start_failure_not_a_stuck_start(
    make_process, tmp_path
):
    """An upgrade that removes the program must not hang the alias."""
    script = tmp_path / "engine.sh"
    script.write_text("#!/bin/sh\nexit 5\n")
    script.chmod(0o755)
    process = make_process(argv=lambda _: (str(script),))
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="exit code 5"):
            await process.ensure_ready()
        script.unlink()
        for _ in range(2):
            with pytest.raises(EngineStartFailed, match="No such file"):
                await process.ensure_ready()
    assert process.state is State.STOPPED


async def test_what_fetching_the_model_raises_is_told_as_it_is(make_process):
    """A missing model is no crash, and its message stays."""

    async def fail() -> Path:
        raise ModelUnavailable("Put x.bin into /models.")

    process = make_process(model=fail)
    async with asyncio.timeout(15):
        with pytest.raises(ModelUnavailable, match=r"Put x\.bin"):
            await process.ensure_ready()
    assert process.crashes == 0


async def test_options_that_cannot_work_here_are_a_start_failure(make_process):
    """A configuration error found late is answered, not raised through the loop."""

    async def fail() -> Path:
        raise ConfigurationError("there is no cuda here")

    process = make_process(model=fail)
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="there is no cuda here"):
            await process.ensure_ready()


async def test_a_stop_interrupts_the_fetching_of_the_model(make_process):
    """A download of minutes does not delay a shutdown."""

    async def never() -> Path:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    process = make_process(model=never)
    async with asyncio.timeout(15):
        process.start()
        await asyncio.sleep(0)
        await process.close()
    assert process.state is State.CLOSED


async def test_a_grandchild_dies_with_the_group(make_process, tmp_path):
    """A stop ends the whole group, also a member that ignores SIGTERM."""
    process = make_process("--grandchild", str(tmp_path / "pid"))
    async with asyncio.timeout(15):
        await process.ensure_ready()
        grandchild = int(await written(tmp_path / "pid"))
        await process.stop()
        await gone(grandchild)


@pytest.mark.parametrize(
    "habit", ["--grandchild", "--escaped-grandchild", "--anonymous-grandchild"]
)
async def test_a_crashed_leader_takes_its_grandchildren_along(make_process, tmp_path, habit):
    """Grandchildren hold the GPU: none stays, not even in a session of its own."""
    process = make_process(habit, str(tmp_path / "pid"))
    async with asyncio.timeout(15):
        await process.ensure_ready()
        grandchild = int(await written(tmp_path / "pid"))
        os.kill(process.pid, signal.SIGKILL)
        await process.wait_for(State.STOPPED)
        await gone(grandchild)


async def test_a_pipe_that_a_grandchild_holds_open_does_not_hold_up_the_stop(
    make_process, tmp_path
):
    """It has left the group and shed its environment, so nothing ends it; its pipes are let go."""
    process = make_process("--lost-grandchild", str(tmp_path / "pid"))
    async with asyncio.timeout(15):
        await process.ensure_ready()
        grandchild = int(await written(tmp_path / "pid"))
        try:
            await process.stop()
            assert is_alive(grandchild)
        finally:
            os.kill(grandchild, signal.SIGKILL)
        await process.ensure_ready()


async def test_a_stop_whose_caller_left_is_finished_all_the_same(make_process):
    """Stops belong to the process too."""
    process = make_process("--ignore-sigterm", grace_s=0.2)
    async with asyncio.timeout(15):
        await process.ensure_ready()
        first = process.pid
        stop = begun(process.stop())
        await process.wait_for(State.STOPPING)
        stop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stop
        await process.ensure_ready()
    assert process.pid != first


async def test_a_flood_of_output_blocks_neither_the_engine_nor_the_router(make_process):
    """Pipes are always drained, and what is kept of them is bounded."""
    process = make_process("--flood-stderr")
    async with asyncio.timeout(20):
        await process.ensure_ready()
        assert all(len(line) <= 2010 for line in process.output().tail(1000))
        assert 0 < len(process.output().tail(1000)) <= 200
        await process.stop()


async def test_output_of_the_last_child_stays_readable_after_its_end(make_process):
    """The reason of a crash can be looked up afterwards."""
    process = make_process("--say", r"hello\n")
    async with asyncio.timeout(15):
        await process.ensure_ready()
        await process.stop()
    assert process.output().tail(5) == ["hello"]


async def test_a_state_that_was_left_at_once_is_still_noticed(make_process):
    """Who waits for a state hears of it even when it lasts no time at all."""
    process = make_process()
    async with asyncio.timeout(15):
        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(process.wait_for(State.STOPPING))
            await asyncio.sleep(0)
            process.start()
            process.begin_stop()
        assert waiter.result() is State.STOPPING


async def test_a_tcp_engine_serves_on_a_loopback_port(make_process):
    """The port is picked per start, and the listener on it is the child's."""
    process = make_process(engine=TcpProgramEngine())
    async with asyncio.timeout(15):
        await process.ensure_ready()
        connection = process.serving()
        assert connection.endpoint.kind is EndpointKind.TCP
        assert connection.endpoint.url.startswith("http://127.0.0.1:")


async def test_a_port_taken_before_the_engine_binds_is_given_up_for_another(make_process):
    """The engine cannot bind and exits; the next port serves, and nobody sees a failure."""
    with stolen_ports(count=1) as steal:
        process = make_process(engine=TcpProgramEngine(), argv=steal)
        async with asyncio.timeout(15):
            await process.ensure_ready()
    assert (process.state, process.starts) == (State.READY, 2)


async def test_a_stranger_on_the_port_is_not_trusted_while_the_engine_loads(make_process):
    """Whoever answers on our port before the engine does is not asked."""
    with stolen_ports("--quiet-start", "0.4", count=1) as steal:
        process = make_process(engine=TcpProgramEngine(), argv=steal)
        async with asyncio.timeout(15):
            await process.ensure_ready()
    assert (process.state, process.starts) == (State.READY, 2)


async def test_a_port_that_an_orphan_shares_is_given_up_for_another(make_process):
    """With SO_REUSEPORT both can bind it, and the kernel would give each a part of the requests."""
    with stolen_ports("--share-port", count=1) as steal:
        process = make_process(engine=TcpProgramEngine(), argv=steal)
        async with asyncio.timeout(15):
            await process.ensure_ready()
    assert (process.state, process.starts) == (State.READY, 2)


async def test_a_port_taken_three_times_is_a_start_failure(make_process):
    """There is an end to it."""
    with stolen_ports(count=3) as steal:
        process = make_process(engine=TcpProgramEngine(), argv=steal)
        async with asyncio.timeout(15):
            with pytest.raises(EngineStartFailed, match="was taken by another program"):
                await process.ensure_ready()
    assert process.starts == 3


async def test_an_engine_that_listens_elsewhere_never_becomes_ready(make_process):
    """Nothing but the port that it was told counts."""
    process = make_process("--listen-elsewhere", engine=TcpProgramEngine(), silence_s=0.4)
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="no sign of progress"):
            await process.ensure_ready()


async def test_a_broken_plugin_is_a_start_failure_and_leaves_no_child(make_process):
    """A bug in a probe is reported, and does not leak a process."""

    class Broken(ProgramEngine):
        async def is_ready(self, http, endpoint):
            raise ZeroDivisionError

    process = make_process(engine=Broken())
    async with asyncio.timeout(15):
        with pytest.raises(EngineStartFailed, match="ZeroDivisionError"):
            await process.ensure_ready()
    assert process.pid is None


async def test_kill_ends_a_process_without_grace(make_process):
    """For the end of a deadline."""
    process = make_process("--ignore-sigterm", "--deaf", grace_s=30)
    async with asyncio.timeout(15):
        await process.ensure_ready()
        process.begin_stop()
        process.kill()
        await process.wait_for(State.STOPPED)


@contextlib.contextmanager
def stolen_ports(*flags: str, count: int):
    """Yield a command line for which somebody takes the first `count` ports in time.

    Nobody may have spoken to them in the end.
    """
    taken: list[socket.socket] = []
    with contextlib.ExitStack() as strangers:
        left = iter(range(count))

        def steal(endpoint: Endpoint) -> tuple[str, ...]:
            if next(left, None) is not None:
                stranger = strangers.enter_context(socket.socket())
                if "--share-port" in flags:
                    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                stranger.bind(("127.0.0.1", int(endpoint.url.rpartition(":")[2])))
                stranger.listen()
                stranger.setblocking(False)
                taken.append(stranger)
            return program_argv(endpoint, *flags)

        yield steal
        for stranger in taken:
            with pytest.raises(BlockingIOError):
                stranger.accept()
