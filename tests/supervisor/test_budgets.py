"""Pools of real processes that share the memory of a GPU, as a program like nvidia-smi tells it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from support.nvidia_smi import Devices
from support.processes import begun, is_alive
from support.program_engine import ProgramEngine, ask
from whisper_router.engine_api import Endpoint, Launch
from whisper_router.errors import InsufficientMemory
from whisper_router.supervisor import budgets, gpu
from whisper_router.supervisor.budgets import SHARE, MemoryBudgets
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.memory import MIB, MemoryBroker
from whisper_router.supervisor.pool import ModelPool

LIMIT_S = 30
ONE, TOTAL_MIB = 600 * MIB, 1000


class GpuEngine(ProgramEngine):
    """Says that it computes on the first GPU."""

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch:
        return replace(super().launch(model, options, endpoint), gpu=0)


@pytest.fixture
def devices(tmp_path) -> Devices:
    made = Devices(tmp_path, memory_mib=[(TOTAL_MIB, 0)])
    made.write()
    return made


@pytest.fixture
async def memory(devices) -> MemoryBudgets:
    ram = MemoryBroker(budget_bytes=64 << 30, min_residency_s=0.1, wait_s=LIMIT_S)
    return MemoryBudgets(ram, gpus=await gpu.read_gpus(devices.program), program=devices.program)


@pytest.fixture
def make(make_pool, memory) -> Callable[..., ModelPool]:
    """Make pools on one GPU that has room for one of them."""

    def make(alias: str, *flags: str, **fields) -> ModelPool:
        known = {"memory": memory, "memory_bytes": ONE, "engine": GpuEngine()}
        return make_pool(*flags, alias=alias, **known | fields)

    return make


async def use(pool: ModelPool) -> int:
    async with pool.lease() as lease:
        assert await ask(lease.http, lease.endpoint) == " hello"
        return lease.pid


async def test_an_idle_alias_makes_room_on_the_gpu(make, memory):
    """Although there is memory enough in the machine."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        await use(second)
        assert not is_alive(pid)
        assert first.brief().state is State.STOPPED
        assert second.brief().gpu_memory_bytes == ONE
        [status] = (await second.status()).processes
        assert (status.gpu, status.gpu_bytes) == (0, ONE)


async def test_processes_without_a_gpu_are_none_of_its_matter(make):
    """They take the machine's memory."""
    on_gpu, beside = make("gpu"), make("cpu", engine=ProgramEngine())
    async with asyncio.timeout(LIMIT_S):
        pid = await use(on_gpu)
        await use(beside)
        assert is_alive(pid)


async def test_two_gpus_are_two_budgets(make_pool, devices):
    """What is on the other one stands in nobody's way."""
    devices.memory_mib = [(TOTAL_MIB, 0)] * 2
    devices.write()
    both = MemoryBudgets(gpus=await gpu.read_gpus(devices.program), program=devices.program)

    class Second(ProgramEngine):
        def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch:
            return replace(super().launch(model, options, endpoint), gpu=1)

    fields = {"memory": both, "memory_bytes": ONE}
    first = make_pool(alias="first", engine=GpuEngine(), **fields)
    second = make_pool(alias="second", engine=Second(), **fields)
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        await use(second)
        assert is_alive(pid)


async def test_what_can_never_fit_is_said_with_both_numbers(make):
    """And how to change them."""
    big = make("big", memory_bytes=2000 * MIB)
    with pytest.raises(InsufficientMemory, match=r"2000 MiB.*900 MiB.*devices\.gpu_memory"):
        await use(big)
    assert round(SHARE * TOTAL_MIB) == 900


async def test_a_budget_for_each_gpu_needs_no_nvidia_smi(make_pool):
    """Other makers' devices have memory, too."""
    memory = MemoryBudgets(gpu_bytes=1000 * MIB, program="/no/such/program")
    pools = [
        make_pool(alias=alias, engine=GpuEngine(), memory=memory, memory_bytes=ONE)
        for alias in ("first", "second")
    ]
    async with asyncio.timeout(LIMIT_S):
        pid = await use(pools[0])
        await use(pools[1])
        assert not is_alive(pid)


async def test_without_a_budget_and_without_nvidia_smi_a_gpu_is_not_reckoned_with(make_pool):
    """Nor is its memory taken for the machine's."""
    memory = MemoryBudgets(MemoryBroker(budget_bytes=1000 * MIB), program="/no/such/program")
    pool = make_pool(engine=GpuEngine(), memory=memory, memory_bytes=50_000 * MIB)
    async with asyncio.timeout(LIMIT_S):
        await use(pool)


async def test_a_start_waits_until_freed_memory_is_really_back(make, devices):
    """The driver gives it back a while after the process has gone."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        await use(first)
        devices.memory_mib = [(TOTAL_MIB, 600)]
        devices.write()
        asked = len(devices.calls)
        starting = begun(use(second))
        while len(devices.calls) < asked + 2:  # noqa: ASYNC110 - a program sets no event
            await asyncio.sleep(0.01)
        assert not starting.done()
        assert (await second.status()).pids == []
        devices.memory_mib = [(TOTAL_MIB, 0)]
        devices.write()
        await starting


async def test_memory_that_others_keep_is_not_waited_for_in_vain(make, devices, monkeypatch):
    """Another program may have it: the engine finds out whether it needs so much."""
    monkeypatch.setattr(budgets, "BACK_WITHIN_S", 0.3)
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        await use(first)
        devices.memory_mib = [(TOTAL_MIB, 900)]
        devices.write()
        await use(second)


async def test_a_process_that_turns_out_to_be_on_a_gpu_counts_there(make, devices):
    """`auto` finds a GPU only when it runs; what was measured replaces the estimate."""
    found = make("found", engine=ProgramEngine(), memory_bytes=None)
    other = make("other")
    async with asyncio.timeout(LIMIT_S):
        await found.warm()
        [pid] = (await found.status()).pids
        devices.use_mib = [(pid, 0, 700), (1, 0, 100)]
        devices.write()
        await use(found)
        while not found.brief().gpu_memory_bytes:  # noqa: ASYNC110 - it is measured aside
            await asyncio.sleep(0.01)
        assert found.brief().gpu_memory_bytes == 700 * MIB
        devices.use_mib = []
        devices.write()
        await use(other)
        assert not is_alive(pid)


async def test_a_reload_changes_the_budget(make, memory):
    """What is there already stays until room is needed."""
    first, second = make("first"), make("second")
    async with asyncio.timeout(LIMIT_S):
        pid = await use(first)
        memory.change(budget_bytes=None, gpu_bytes=2000 * MIB, min_residency_s=0.0)
        await use(second)
        assert is_alive(pid)


async def test_a_process_that_goes_while_it_is_measured_takes_nothing_any_more(
    make, devices, memory
):
    """What nvidia-smi says then is about the past."""
    found = make("found", engine=ProgramEngine(), memory_bytes=None)
    async with asyncio.timeout(LIMIT_S):
        await found.warm()
        [pid] = (await found.status()).pids
        devices.use_mib = [(pid, 0, 700)]
        devices.write()
        devices.hold.touch()
        measuring = begun(memory.measure(found._slots[0]))
        asked = len(devices.calls)
        while len(devices.calls) == asked:  # noqa: ASYNC110 - a program sets no event
            await asyncio.sleep(0.01)
        await found.unload()
        devices.hold.unlink()
        await measuring
        assert memory._brokers[0].reserved_bytes == 0
