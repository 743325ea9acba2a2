"""What is told of several processes in one word."""

import asyncio
import os
import signal

from whisper_router.supervisor import report
from whisper_router.supervisor.breaker import Breaker
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.slot import Slot


def slot_of(process) -> Slot:
    breaker = Breaker(longest_pause_s=60.0)
    return Slot(process, workers=1, idle_unload_s=None, breaker=breaker)


async def test_the_process_nearest_to_serving_gives_its_state(make_process):
    """One that serves is enough; without any, the alias is stopped."""
    slots = [slot_of(make_process()), slot_of(make_process())]
    assert report.common_state([]) is State.STOPPED
    assert report.common_state(slots) is State.STOPPED
    slots[1].process.start()
    assert report.common_state(slots) is State.STARTING
    await slots[1].process.ensure_ready()
    assert report.common_state(slots) is State.READY


async def test_why_it_does_not_start_is_told_before_what_was_repaired(make_process, make_pool):
    """`start_error` is about starts only; `last_error` about whatever went wrong."""
    slot = slot_of(make_process("--exit-at-once", "3"))
    slot.process.start()
    await slot.process.wait_for(State.STOPPED)
    spec = make_pool().spec
    told = report.brief(spec, [slot], state=State.STOPPED, plan_error=None)
    assert "exit code 3" in str(told.start_error)
    assert told.last_error == told.start_error
    assert (told.ready, told.memory_bytes, told.requested) == (None, 0, "auto")
    planless = report.brief(spec, [], state=State.STOPPED, plan_error="Put x into y.")
    assert planless.start_error == planless.last_error == "Put x into y."


async def test_a_failed_start_is_no_obstacle_while_another_process_serves(
    make_process, make_pool, tmp_path
):
    """And it is not forgotten while the next start is on its way."""
    spec, flag = make_pool().spec, tmp_path / "mended"
    slots = [slot_of(make_process("--unless", str(flag))), slot_of(make_process())]

    def start_error() -> str | None:
        return report.brief(spec, slots, state=State.STOPPED, plan_error=None).start_error

    slots[0].process.start()
    await slots[0].process.wait_for(State.STOPPED)
    slots[0].observe()
    assert "exit code 1" in str(start_error())
    flag.touch()
    slots[0].process.start()
    assert "exit code 1" in str(start_error())
    await slots[1].process.ensure_ready()
    assert start_error() is None


async def test_only_what_has_been_started_prints(make_process):
    """A place whose process never ran has no output."""
    slots = [slot_of(make_process("--say", "hi\\n")), slot_of(make_process())]
    assert report.rings(slots) == []
    await slots[0].process.ensure_ready()
    assert [ring.tail(1) for ring in report.rings(slots)] == [["hi"]]


async def test_what_a_crashed_process_said_last_is_there_after_the_next_one_started(make_process):
    """And with what it ended: nobody could read it in between."""
    process = make_process("--say", r"one\ntwo\n")
    slots = [slot_of(process)]
    async with asyncio.timeout(10):
        await process.ensure_ready()
        pid = process.pid
        os.kill(pid, signal.SIGSEGV)
        await process.wait_for(State.STOPPED)
        end = f"process {pid}: Model 'test' crashed: killed by SIGSEGV"
        assert report.tail(slots, 10) == ["one", "two", end]
        process.start()
        await process.wait_for(State.READY)
    assert report.tail(slots, 10) == ["one", "two", end, "one", "two"]
    assert report.tail(slots, 3) == [end, "one", "two"]
    assert report.tail(slots, 0) == []
