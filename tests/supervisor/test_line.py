"""Waiting for a worker: who is served, in which order, and who is not."""

import asyncio

import pytest

from support.processes import begun
from whisper_router.errors import ShuttingDown
from whisper_router.supervisor.breaker import Breaker
from whisper_router.supervisor.line import Grant, Line
from whisper_router.supervisor.slot import Slot


@pytest.fixture
async def grant(make_process) -> Grant:
    """The only worker of a process that serves."""
    process = make_process()
    await process.ensure_ready()
    breaker = Breaker(longest_pause_s=60.0)
    slot = Slot(process, workers=1, idle_unload_s=None, breaker=breaker)
    return Grant(slot=slot, connection=process.serving())


async def test_the_first_is_served_before_the_others(grant):
    """And only as many as there are workers."""
    line, free = Line(), [grant]
    first, second = line.join(), line.join()
    line.serve(lambda: free.pop() if free else None)
    assert first.result() is grant
    assert not second.done()
    assert len(line) == 1


async def test_who_has_left_is_passed_over(grant):
    """A client that is gone keeps nobody waiting."""
    line, free = Line(), [grant]
    places = [line.join() for _ in range(3)]
    places[0].cancel()
    line.leave(places[1])
    line.serve(lambda: free.pop() if free else None)
    assert places[2].result() is grant
    assert not line


async def test_leaving_twice_is_leaving_once():
    """The served ones leave, too."""
    line = Line()
    place = line.join()
    line.leave(place)
    line.leave(place)
    assert not line


async def test_all_are_refused_but_those_who_left():
    """A failure is told to everybody who still listens."""
    line = Line()
    gone, here = line.join(), line.join()
    gone.cancel()
    line.fail(ShuttingDown("It stops."))
    assert not line
    waiting = begun(asyncio.wait_for(here, 20))
    with pytest.raises(ShuttingDown):
        await waiting
    assert gone.cancelled()
