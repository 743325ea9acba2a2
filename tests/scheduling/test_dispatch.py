"""Turns at real workers: two run, the others wait in fair order, bounded in number and time."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.errors import ModelUnavailable, QueueFull, QueueTimeout
from whisper_router.scheduling.dispatch import (
    FIRST_GUESS_RTF,
    Dispatchers,
    QueueLimits,
    turns,
)
from whisper_router.scheduling.fair_queue import Ticket

LIMITS = QueueLimits(max_chunks=100, max_requests=100, timeout_s=30.0)


class Customers:
    """Tasks that hold a lease until they are told to leave, noting who came in."""

    def __init__(self, dispatcher) -> None:
        self.dispatcher = dispatcher
        self.came_in: list[str] = []
        self.may_leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task] = {}
        self.changed = asyncio.Condition()

    async def send(self, name: str, ticket: Ticket) -> None:
        self.may_leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.get_running_loop().create_task(self._visit(name, ticket))
        await asyncio.sleep(0)

    async def wait_for(self, *names: str) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: set(names) <= set(self.came_in))

    async def _visit(self, name: str, ticket: Ticket) -> None:
        async with self.dispatcher.lease(ticket):
            async with self.changed:
                self.came_in.append(name)
                self.changed.notify_all()
            await self.may_leave[name].wait()


async def test_a_clip_gets_the_next_worker_though_a_long_file_waits(make):
    """Its turn comes after one chunk of the other, not after all of them."""
    customers = Customers(make())
    async with asyncio.timeout(30):
        for number in range(6):
            await customers.send(f"long {number}", Ticket(request_id="long", cost_s=30))
        await customers.wait_for("long 0", "long 1")
        await customers.send("clip", Ticket(request_id="clip", cost_s=3))
        customers.may_leave["long 0"].set()
        customers.may_leave["long 1"].set()
        await customers.wait_for("clip")
        assert customers.came_in[:2] == ["long 0", "long 1"]
        assert "clip" in customers.came_in[2:4]
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())
    assert customers.dispatcher.running == 0


async def test_what_waits_is_told_with_place_and_estimate(make):
    """In the order of the turns; what runs is counted as far as it is not done."""
    dispatcher = make()
    customers = Customers(dispatcher)
    async with asyncio.timeout(30):
        for name, cost_s in zip("abcde", (1000, 2000, 4000, 10, 10), strict=True):
            await customers.send(name, Ticket(request_id=name, cost_s=cost_s))
        await customers.wait_for("a", "b")
        places = dispatcher.waiting()
        assert [place.ticket.request_id for place in places] == ["c", "d", "e"]
        assert [place.position for place in places] == [0, 1, 2]
        expected = [cost_s * FIRST_GUESS_RTF for cost_s in (1000, 2000, 2010)]
        for place, expected_s in zip(places, expected, strict=True):
            assert expected_s - 30 < place.estimate_s <= expected_s
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())


async def test_more_than_may_wait_is_refused_at_once(make):
    """429, with the time after which a try makes sense."""
    customers = Customers(make(max_requests=1))
    async with asyncio.timeout(30):
        for name in "abc":
            await customers.send(name, Ticket(request_id=name))
        await customers.wait_for("a", "b")
        with pytest.raises(QueueFull, match="max_requests") as caught:
            async with customers.dispatcher.lease(Ticket(request_id="d")):
                pass
        assert caught.value.retry_after_s >= 1
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())


async def test_a_running_chunk_that_takes_longer_than_expected_does_not_make_the_wait_negative(
    make,
):
    """It is expected to end now."""
    dispatcher = make()
    customers = Customers(dispatcher)
    async with asyncio.timeout(30):
        for name in "abc":
            await customers.send(name, Ticket(request_id=name, cost_s=0))
        await customers.wait_for("a", "b")
        await asyncio.sleep(0.06)  # estimates are told in tenths of seconds
        assert dispatcher.waiting()[0].estimate_s == 0
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())


@given(
    busy_s=st.lists(st.floats(0, 100), max_size=6),
    takes_s=st.lists(st.floats(0, 100), max_size=20),
    workers=st.integers(1, 6),
)
def test_turns_never_go_back_and_no_worker_does_two_things_at_once(busy_s, takes_s, workers):
    """At most as many pieces of work overlap as there are workers, with those that run already."""
    begins = list(turns(busy_s, takes_s, workers=workers))
    assert begins == sorted(begins)
    spans = [(0.0, busy) for busy in sorted(busy_s)[-workers:]]
    spans += [(begin, begin + take) for begin, take in zip(begins, takes_s, strict=True)]
    for begin in begins:
        assert sum(low <= begin < high for low, high in spans) <= workers
    if takes_s and len(busy_s) < workers:
        assert begins[0] == 0


def test_a_turn_comes_when_the_first_of_the_workers_is_free():
    """Two workers, busy for 3 s and 5 s; the third piece follows the first, which is short."""
    assert list(turns([5, 3], [1, 10, 2], workers=2)) == [3, 4, 5]


async def test_a_watched_request_is_told_how_its_first_chunk_fared(make):
    """How many had their turns first, and how long that took; later chunks change nothing."""
    dispatcher = make(timeout_s=30)
    dispatchers = Dispatchers(lambda name: dispatcher.pool, LIMITS)
    customers = Customers(dispatchers("any"))
    async with asyncio.timeout(30):
        with dispatchers.watch(key="", request_id="a") as free:
            await customers.send("a", Ticket(request_id="a"))
            await customers.wait_for("a")
        assert free.position == 0
        assert free.waited_s >= 0
        for name in "bcd":
            await customers.send(name, Ticket(request_id=name))
        with dispatchers.watch(key="", request_id="e") as late:
            await customers.send("e", Ticket(request_id="e"))
            assert (late.position, late.waited_s) == (2, None)
            await customers.send("e again", Ticket(request_id="e"))
            for event in customers.may_leave.values():
                event.set()
            await asyncio.gather(*customers.tasks.values())
        assert late.position == 2
        assert late.waited_s > 0
        async with dispatchers("any").lease(Ticket(request_id="e")):
            assert late.position == 2


async def test_a_refused_or_late_request_is_told_too(make):
    """How many wait, or how long it waited in vain."""
    pool = make().pool
    dispatchers = Dispatchers(
        lambda name: pool, QueueLimits(max_chunks=1, max_requests=1, timeout_s=0.05)
    )
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        for name in "ab":
            await stack.enter_async_context(dispatchers("any").lease(Ticket(request_id=name)))
        with dispatchers.watch(key="", request_id="c") as late:
            waiting = asyncio.get_running_loop().create_task(
                stack.enter_async_context(dispatchers("any").lease(Ticket(request_id="c")))
            )
            await asyncio.sleep(0)
            with (
                dispatchers.watch(key="", request_id="d") as refused,
                pytest.raises(QueueFull),
            ):
                await stack.enter_async_context(dispatchers("any").lease(Ticket(request_id="d")))
            with pytest.raises(QueueTimeout):
                await waiting
        assert (refused.position, refused.waited_s) == (1, None)
        assert late.position == 0
        assert late.waited_s > 0.04  # the loop counts in milliseconds


async def test_of_two_requests_with_one_id_each_can_end_first(make):
    """Clients choose their ids; the later one is watched."""
    dispatchers = Dispatchers(lambda name: make().pool, LIMITS)
    with dispatchers.watch(key="", request_id="same"):
        with dispatchers.watch(key="", request_id="same") as later:
            pass
        with dispatchers.watch(key="", request_id="same") as latest:
            async with asyncio.timeout(30), dispatchers("any").lease(Ticket(request_id="same")):
                pass
    assert (later.position, latest.position) == (None, 0)


async def test_who_waits_too_long_is_told_and_leaves_no_trace(make):
    """504; the place in the queue is free again."""
    dispatcher = make(timeout_s=0.05)
    async with asyncio.timeout(30), AsyncExitStack() as stack:
        for name in "ab":
            await stack.enter_async_context(dispatcher.lease(Ticket(request_id=name)))
        with pytest.raises(QueueTimeout, match=r"queue\.timeout_s"):
            async with dispatcher.lease(Ticket(request_id="c")):
                pass
        assert dispatcher.waiting() == []
    assert dispatcher.running == 0


async def test_a_request_that_has_begun_waits_for_its_further_turns_without_limit(make):
    """Half of a long file is worth more than its place in the queue."""
    dispatcher = make(timeout_s=0.02)
    customers = Customers(dispatcher)
    async with asyncio.timeout(30):
        for name in "ab":
            await customers.send(name, Ticket(request_id=name))
        await customers.wait_for("a", "b")
        await customers.send("more", Ticket(request_id="a", has_begun=True))
        with pytest.raises(QueueTimeout):
            async with dispatcher.lease(Ticket(request_id="new")):
                pass
        assert not customers.tasks["more"].done()
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())


async def test_who_leaves_while_waiting_or_at_its_turn_costs_nobody_a_turn(make):
    """Cancelled at every moment there is; both workers are free at the end."""
    dispatcher = make()
    customers = Customers(dispatcher)
    async with asyncio.timeout(30):
        for name in "abcdef":
            await customers.send(name, Ticket(request_id=name))
        await customers.wait_for("a", "b")
        customers.tasks["d"].cancel()
        customers.may_leave["a"].set()
        customers.tasks["c"].cancel()
        await customers.wait_for("e")
        customers.tasks["e"].cancel()
        customers.may_leave["b"].set()
        customers.may_leave["f"].set()
        await asyncio.wait(customers.tasks.values())
        assert (dispatcher.running, dispatcher.waiting()) == (0, [])
        async with AsyncExitStack() as stack:
            for name in "xy":
                await stack.enter_async_context(dispatcher.lease(Ticket(request_id=name)))


async def test_who_waits_fails_with_the_one_that_could_not_get_a_worker(make):
    """Ten wait for a model that is not there: not one attempt after the other."""
    dispatcher = make("broken")

    async def visit(name: str) -> None:
        async with dispatcher.lease(Ticket(request_id=name)):
            pass

    async with asyncio.timeout(30):
        ended = await asyncio.gather(*map(visit, "abcdefghij"), return_exceptions=True)
    assert {type(error) for error in ended} == {ModelUnavailable}
    assert len({id(error) for error in ended}) == 1
    assert (dispatcher.running, dispatcher.waiting()) == (0, [])


async def test_a_request_that_has_begun_is_not_refused_its_next_turn(make):
    """Others have filled the queue meanwhile; what it has done so far would be lost."""
    customers = Customers(make(max_chunks=1, max_requests=1))
    async with asyncio.timeout(30):
        for name in "abc":
            await customers.send(name, Ticket(request_id=name))
        await customers.wait_for("a", "b")
        await customers.send("a again", Ticket(request_id="a", has_begun=True))
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())


async def test_work_of_quiet_hours_is_no_debt(make):
    """A long file while nobody else was there; later both keys get turns alike."""
    dispatcher = make()
    customers = Customers(dispatcher)
    async with asyncio.timeout(30):
        async with dispatcher.lease(Ticket(request_id="night", key="old", cost_s=10_000)):
            pass
        for name in "ab":
            await customers.send(name, Ticket(request_id=name, key="new", cost_s=10))
        for name in "cd":
            await customers.send(name, Ticket(request_id=name, key="new", cost_s=10))
        await customers.send("clip", Ticket(request_id="clip", key="old", cost_s=3))
        await customers.wait_for("a", "b")
        assert dispatcher.waiting()[0].ticket.key == "old"
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())


async def test_a_request_is_told_its_place_without_working_out_the_order_each_time(make):
    """Hundreds may watch their progress at once; a key's id is its own."""
    dispatcher = make()
    dispatchers = Dispatchers(lambda name: dispatcher.pool, LIMITS)
    customers = Customers(dispatchers("any"))
    async with asyncio.timeout(30):
        for name in "abcd":
            await customers.send(name, Ticket(request_id=name, key="ann"))
        await customers.wait_for("a", "b")
        place = dispatchers.place(key="ann", request_id="d")
        assert place.position == 1
        assert dispatchers.place(key="ann", request_id="d") is place
        assert dispatchers.place(key="ben", request_id="d") is None
        for event in customers.may_leave.values():
            event.set()
        await asyncio.gather(*customers.tasks.values())
