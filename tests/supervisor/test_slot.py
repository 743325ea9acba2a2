"""A place in a pool: what may be leased and when it is unloaded."""

import asyncio
import math

from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.testing import capture_logs

from support.program_engine import ProcesslessEngine
from whisper_router.engine_api import Endpoint
from whisper_router.errors import EngineStartFailed
from whisper_router.supervisor.breaker import Breaker, BreakerState
from whisper_router.supervisor.external import External
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.slot import Slot
from whisper_router.tasks import Tasks


def slot_of(process, **options) -> Slot:
    breaker = Breaker(longest_pause_s=60.0)
    return Slot(process, **{"workers": 1, "idle_unload_s": None, "breaker": breaker} | options)


async def ready(make_process, *flags, **options) -> Slot:
    process = make_process(*flags)
    await process.ensure_ready()
    return slot_of(process, **{"workers": 2} | options)


async def test_workers_are_offered_until_all_are_leased(make_process):
    """And none at all while a broken answer is looked into."""
    slot = await ready(make_process)
    assert slot.offer() is slot.process.serving()
    slot.leases = 1
    assert slot.offer() is not None
    slot.suspicions = 1
    assert slot.offer() is None
    slot.suspicions, slot.leases = 0, 2
    assert slot.offer() is None


async def test_a_process_that_does_not_serve_offers_nothing_but_can_start(make_process):
    """Nobody is sent to a process that is stopped."""
    slot = slot_of(make_process())
    assert slot.offer() is None
    assert slot.can_start()
    assert not slot.is_hopeful()
    slot.process.start()
    assert not slot.can_start()
    assert slot.is_hopeful()
    await slot.process.ensure_ready()
    assert slot.is_hopeful()


async def test_a_failed_start_is_told_once_and_stops_further_starts(make_process):
    """Until somebody new comes, for whom the pool clears `has_failed`."""
    process = make_process("--exit-at-once", "3")
    slot = slot_of(process)
    assert slot.take_failure() is None
    process.start()
    await process.wait_for(State.STOPPED)
    assert isinstance(slot.take_failure(), EngineStartFailed)
    assert slot.take_failure() is None
    assert not slot.can_start()
    slot.has_failed = False
    assert slot.can_start()


async def test_a_process_that_keeps_failing_cannot_start_while_its_breaker_is_open(make_process):
    """Ends that others have brought about are no failures."""
    process = make_process("--exit-at-once", "3")
    slot = slot_of(process)
    for failures in (1, 2, 3):
        assert slot.can_start()
        process.start()
        await process.wait_for(State.STOPPED)
        slot.observe()
        slot.observe()
        assert slot.breaker.failures == failures
    assert not slot.can_start()
    slot.breaker.succeed()
    assert slot.can_start()
    assert slot.breaker.state(now_s=0.0) is BreakerState.CLOSED


async def test_an_idle_process_is_unloaded_after_its_time(make_process):
    """The timer runs from the moment when nothing is leased or wanted."""
    slot = await ready(make_process, idle_unload_s=0.02)
    slot.tend(is_wanted=False)
    async with asyncio.timeout(15):
        await slot.process.wait_for(State.STOPPED)


async def test_an_idle_unload_is_told_with_the_alias_and_is_no_requests(make_process):
    """Whoever used it last has nothing to do with it."""
    slot = await ready(make_process, idle_unload_s=0.02)
    with capture_logs(processors=[merge_contextvars]) as logs:
        with bound_contextvars(request_id="req_1"):
            slot.tend(is_wanted=False)
        async with asyncio.timeout(10):
            await slot.process.wait_for(State.STOPPED)
    (line,) = [line for line in logs if line["event"] == "engine_idle"]
    assert (line["alias"], line.get("request_id")) == (slot.alias, None)


async def test_a_lease_or_somebody_who_waits_stops_the_timer(make_process):
    """Tending anew starts it from the beginning."""
    slot = await ready(make_process, idle_unload_s=0.05)
    loop = asyncio.get_running_loop()
    for leases, is_wanted in ((1, False), (0, True)):
        slot.leases = 0
        slot.tend(is_wanted=False)
        slot.leases = leases
        slot.tend(is_wanted=is_wanted)
        over = loop.create_future()
        loop.call_later(0.1, over.set_result, None)
        await over
        assert slot.process.state is State.READY
    slot.leases = 0
    slot.tend(is_wanted=False)
    slot.disarm()
    assert slot.process.state is State.READY


async def test_the_status_measures_the_process(make_process):
    """Memory of the whole family, and what the engine computes on."""
    slot = await ready(make_process)
    slot.leases = 1
    status = await slot.status()
    assert (status.state, status.pid, status.leases) == (State.READY, slot.process.pid, 1)
    assert (status.starts, status.crashes, status.accelerator) == (1, 0, "cpu")
    assert status.rss_bytes > 1 << 20


async def test_an_engine_without_a_process_has_a_status_too():
    """Its address, and no memory."""
    tasks, engine = Tasks(), ProcesslessEngine()
    endpoint = Endpoint(kind=engine.endpoint_kind, url="http://engine")
    external = External(endpoint, alias="test", tasks=tasks, is_ready=engine.is_ready)
    slot = slot_of(external, workers=3)
    status = await slot.status()
    assert (status.state, status.pid, status.rss_bytes) == (State.STOPPED, None, 0)
    assert status.url == "http://engine"
    await slot.process.close()
    await tasks.close()


async def test_how_long_it_stays_may_be_changed_and_changed_back(make_process):
    """By a request, until the next one has ended."""
    slot = await ready(make_process, idle_unload_s=600.0)
    slot.keep_alive(math.inf)
    slot.tend(is_wanted=False)
    assert slot._idle_timer is None
    slot.keep_alive(None)
    slot.tend(is_wanted=False)
    assert slot._idle_timer is not None
    slot.keep_alive(0.0)
    slot.tend(is_wanted=False)
    async with asyncio.timeout(15):
        await slot.process.wait_for(State.STOPPED)
