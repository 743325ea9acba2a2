"""Which process gives a worker, and which are started."""

import asyncio

from support.program_engine import ProcesslessEngine
from whisper_router.engine_api import Endpoint
from whisper_router.supervisor import choice
from whisper_router.supervisor.breaker import Breaker
from whisper_router.supervisor.external import External
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.slot import Slot
from whisper_router.tasks import Tasks


def slot_of(process, *, workers: int = 2) -> Slot:
    breaker = Breaker(longest_pause_s=60.0)
    return Slot(process, workers=workers, idle_unload_s=None, breaker=breaker)


async def test_the_process_with_the_least_work_gives_the_worker(make_process):
    """And none does once all are leased."""
    slots = [slot_of(make_process()) for _ in range(2)]
    assert choice.offered(slots) is None
    for slot in slots:
        await slot.process.ensure_ready()
    taken = []
    while (found := choice.offered(slots)) is not None:
        slot, connection = found
        assert connection is slot.process.serving()
        slot.leases += 1
        taken.append(slots.index(slot))
    assert taken == [0, 1, 0, 1]


async def test_no_more_are_started_than_those_who_wait_need(make_process):
    """What is already on its way counts."""
    slots = [slot_of(make_process()) for _ in range(3)]

    def started(waiting: int) -> list[int]:
        found = []
        for slot in choice.to_start(slots, waiting=waiting):
            slot.process.start()
            found.append(slots.index(slot))
        return found

    assert started(0) == []
    assert started(1) == [0]
    assert started(2) == []
    assert started(3) == [1]
    assert started(9) == [2]
    assert started(9) == []


async def test_hope_ends_with_the_last_that_may_be_started(make_process):
    """A pool without processes is not held off: it has not been planned yet."""
    assert not choice.are_held_off([])
    slots = [slot_of(make_process("--exit-at-once", "3")), slot_of(make_process())]
    assert not choice.has_hope(slots)
    assert not choice.are_held_off(slots)
    slots[0].process.start()
    assert choice.has_hope(slots)
    await slots[0].process.wait_for(State.STOPPED)
    slots[0].take_failure()
    assert not choice.are_held_off(slots)
    slots[1].has_failed = True
    assert choice.are_held_off(slots)


async def test_servers_elsewhere_are_asked_together_and_count_while_they_serve():
    """Before any serves, what was planned is what there is."""
    engine, tasks = ProcesslessEngine(), Tasks()
    endpoint = Endpoint(kind=engine.endpoint_kind, url="http://127.0.0.1:9")
    changed: asyncio.Queue[None] = asyncio.Queue()
    slots = [
        slot_of(
            External(
                endpoint,
                alias="test",
                tasks=tasks,
                is_ready=engine.is_ready,
                on_change=lambda: changed.put_nowait(None),
            )
        )
        for _ in range(2)
    ]
    assert list(choice.to_start(slots, waiting=0)) == []
    assert list(choice.to_start(slots, waiting=1)) == slots
    assert choice.capacity(slots, planned=7) == 7
    slots[0].process.start()
    async with asyncio.timeout(20):
        while slots[0].process.state is not State.READY:
            await changed.get()
    assert choice.capacity(slots, planned=7) == 2
    for slot in slots:
        await slot.close()
    await tasks.close()
