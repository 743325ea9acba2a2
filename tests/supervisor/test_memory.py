"""The line in front of the memory, with tenants that leave when they are told to."""

import asyncio
import time

import pytest

from support.processes import begun
from whisper_router.errors import InsufficientMemory
from whisper_router.supervisor.memory import MIB, Footprint, MemoryBroker, estimated_bytes
from whisper_router.supervisor.room import Occupant


class Tenant:
    """Is settled once it is in; leaves at once, unless it is busy."""

    def __init__(
        self,
        broker: MemoryBroker,
        alias: str,
        size: int,
        *,
        is_busy: bool = False,
        is_declared: bool = True,
    ):
        self.broker, self.alias, self.size_bytes, self.is_busy = broker, alias, size, is_busy
        self.is_declared = is_declared
        self.is_pinned = self.is_leaving = False
        self.since_s = self.used_s = 0.0

    async def come(self) -> None:
        await self.broker.admit(self)
        self.since_s = self.used_s = time.monotonic()

    def occupant(self) -> Occupant:
        return Occupant(
            key=self,
            size_bytes=self.size_bytes,
            is_settled=not self.is_pinned,
            is_leaving=self.is_leaving,
            is_wanted=self.is_busy or not self.since_s,
            since_s=self.since_s,
            used_s=self.used_s,
        )

    def leave(self) -> None:
        self.is_leaving = True
        if not self.is_busy:
            self.go()

    def go(self) -> None:
        self.is_leaving, self.since_s = False, 0.0
        self.broker.release(self)


@pytest.fixture
async def limit():
    async with asyncio.timeout(15):
        yield


async def test_without_a_budget_everybody_comes(limit):
    """As before there was one."""
    broker = MemoryBroker()
    for number in range(5):
        await Tenant(broker, str(number), 1 << 40).come()
    assert broker.reserved_bytes == 5 << 40


async def test_the_idle_one_leaves_for_the_next(limit):
    """And its memory is counted until it is gone."""
    broker = MemoryBroker(budget_bytes=10)
    first, second = Tenant(broker, "a", 6), Tenant(broker, "b", 6)
    await first.come()
    await second.come()
    assert broker.reserved_bytes == 6


async def test_one_in_use_is_waited_for_until_its_residency_is_over(limit):
    """Then it leaves as soon as it can."""
    broker = MemoryBroker(budget_bytes=10, min_residency_s=0.05)
    first, second = Tenant(broker, "a", 6, is_busy=True), Tenant(broker, "b", 6)
    await first.come()
    coming = begun(second.come())
    while not first.is_leaving:  # noqa: ASYNC110 - it is told, and sets no event
        await asyncio.sleep(0.005)
    assert time.monotonic() - first.since_s >= 0.05
    assert not coming.done()
    first.go()
    await coming


async def test_the_line_is_kept_and_nobody_starves(limit):
    """A small one does not overtake a large one that waits."""
    broker = MemoryBroker(budget_bytes=10)
    resident = Tenant(broker, "a", 6, is_busy=True)
    await resident.come()
    resident.since_s = time.monotonic() + 60  # it will not be due
    order: list[str] = []

    async def come(alias: str, size: int) -> None:
        await Tenant(broker, alias, size).come()
        order.append(alias)

    large, small = begun(come("large", 8)), begun(come("small", 2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == []
    resident.go()
    await asyncio.wait({large, small})
    assert order == ["large", "small"]


async def test_a_second_process_of_an_alias_comes_only_where_there_is_room(limit):
    """It chases nobody away, and holds nobody up."""
    broker = MemoryBroker(budget_bytes=10)
    await Tenant(broker, "a", 4).come()
    other = Tenant(broker, "b", 4)
    await other.come()
    again = begun(Tenant(broker, "a", 4).come())
    await Tenant(broker, "c", 2).come()
    assert not again.done()
    other.go()
    await again


async def test_what_can_never_fit_is_refused_at_once(limit):
    """With both numbers and the settings."""
    broker = MemoryBroker(budget_bytes=100 * MIB)
    with pytest.raises(InsufficientMemory, match=r"300 MiB.*100 MiB.*devices\.memory"):
        await Tenant(broker, "a", 300 * MIB).come()


async def test_what_is_only_estimated_not_to_fit_may_come_alone(limit):
    """The estimate may be wrong, and nobody has declared anything."""
    broker = MemoryBroker(budget_bytes=10)
    other = Tenant(broker, "a", 6)
    await other.come()
    large = Tenant(broker, "b", 30, is_declared=False)
    await large.come()
    assert broker.reserved_bytes == 30
    await other.come()
    assert broker.reserved_bytes == 6


async def test_nobody_waits_for_ever(limit):
    """A lease that never ends: the one who waits is told."""
    broker = MemoryBroker(budget_bytes=10, wait_s=0.05)
    await Tenant(broker, "a", 6, is_busy=True).come()
    with pytest.raises(InsufficientMemory, match="no room in memory for model 'b'"):
        await Tenant(broker, "b", 6).come()
    assert broker.reserved_bytes == 6


async def test_two_of_an_alias_that_come_back_at_once_do_not_starve_a_large_one(limit):
    """What one of them has left is not for its sibling to take."""
    broker = MemoryBroker(budget_bytes=10)
    pair = [Tenant(broker, "pair", 5, is_busy=True) for _ in range(2)]
    for tenant in pair:
        await tenant.come()
    large = begun(Tenant(broker, "large", 10, is_busy=True).come())
    while not all(tenant.is_leaving for tenant in pair):  # noqa: ASYNC110 - they are told
        await asyncio.sleep(0)
    back = []
    for tenant in pair:
        tenant.go()
        back.append(begun(tenant.come()))
        await asyncio.sleep(0)
    await large
    assert not any(task.done() for task in back)
    for task in back:
        task.cancel()
    await asyncio.wait(back)


async def test_what_does_not_fit_beside_pinned_ones_is_refused_and_they_are_named(limit):
    """Waiting would not help."""
    broker = MemoryBroker(budget_bytes=10)
    pinned = Tenant(broker, "a", 6)
    await pinned.come()
    pinned.is_pinned = True
    with pytest.raises(InsufficientMemory, match="pinned 'a'"):
        await Tenant(broker, "b", 6).come()
    await Tenant(broker, "c", 4).come()


async def test_who_gives_up_waiting_leaves_no_gap(limit):
    """Those behind it move up."""
    broker = MemoryBroker(budget_bytes=10, min_residency_s=60)
    await Tenant(broker, "a", 6, is_busy=True).come()
    impatient = begun(Tenant(broker, "b", 6).come())
    behind = begun(Tenant(broker, "c", 4).come())
    await asyncio.sleep(0)
    assert not behind.done()
    impatient.cancel()
    await behind
    assert broker.reserved_bytes == 10


async def test_who_is_in_already_comes_again_for_nothing(limit):
    """A start that is tried again on another port."""
    broker = MemoryBroker(budget_bytes=10)
    tenant = Tenant(broker, "a", 6)
    await tenant.come()
    await tenant.come()
    assert broker.reserved_bytes == 6


def test_a_declared_size_counts_then_a_measured_one_then_an_estimate(tmp_path):
    """And the last measurement."""
    model = tmp_path / "model.bin"
    model.write_bytes(bytes(1000))
    footprint = Footprint(declared_bytes=None, estimate_bytes=None)
    assert footprint.size_bytes == 0
    footprint.look_at(model)
    assert footprint.size_bytes == estimated_bytes(model) == 200 * MIB + 1300
    footprint.learn(300)
    footprint.learn(200)
    assert footprint.size_bytes == 200, "what leaked in an earlier process is gone with it"
    assert Footprint(declared_bytes=None, estimate_bytes=7).size_bytes == 7
    declared = Footprint(declared_bytes=5, estimate_bytes=7)
    declared.learn(300)
    assert declared.size_bytes == 5


def test_a_file_that_is_not_there_has_an_estimate_too(tmp_path):
    """The start will say what is wrong."""
    assert estimated_bytes(tmp_path / "none") == 200 * MIB
