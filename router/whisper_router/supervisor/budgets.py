"""The machine's memory and that of each GPU, as one thing to ask for room.

A process takes up system memory and, where it computes on a GPU, memory there. It is admitted to
the one and then to the other, always in this order, so that no two wait for each other.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from whisper_router.supervisor import gpu
from whisper_router.supervisor.memory import MIB, Footprint, MemoryBroker, Tenant
from whisper_router.supervisor.room import Occupant

SHARE: Final = 0.9
"""Of a GPU's memory; the rest is for the system's own use and what a run adds for a moment."""
BACK_WITHIN_S: Final = 5.0
LOOK_EVERY_S: Final = 0.25
"""Drivers give memory back some time after a process has ended (as Ollama found, and waits)."""
MEASURE_EVERY_S: Final = 30.0
"""nvidia-smi takes a tenth of a second of a processor, or more."""

log = structlog.get_logger(__name__)


class Guest(Tenant, Protocol):
    """A process as these budgets see it."""

    @property
    def footprint(self) -> Footprint | None:
        """What it takes, and where; None: nothing here."""
        ...

    async def pids(self) -> Set[int]:
        """Return what it consists of while it serves, and nothing otherwise."""
        ...


class OnGpu:
    """A process as the tenant of a GPU's memory; see `memory.Tenant`."""

    def __init__(self, guest: Guest, index: int) -> None:
        self.alias, self.index = guest.alias, index
        self._guest = guest

    @property
    def is_pinned(self) -> bool:
        """Whether it stays, whoever wants to come."""
        return self._guest.is_pinned

    @property
    def is_declared(self) -> bool:
        """Whether somebody has said how much memory it takes."""
        return self._guest.is_declared

    @property
    def size_bytes(self) -> int:
        """How much memory it takes there, or will take."""
        return 0 if self._guest.footprint is None else self._guest.footprint.gpu_bytes

    def occupant(self) -> Occupant[Tenant]:
        """Return what it is now."""
        return replace(self._guest.occupant(), key=self, size_bytes=self.size_bytes)

    def leave(self) -> None:
        """Stop once its leases have ended."""
        self._guest.leave()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What is taken of a GPU's memory. `budget_bytes` None: as much as is wanted."""

    index: int
    name: str
    budget_bytes: int | None
    used_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """What processes are reckoned to take together, here and of each GPU."""

    budget_bytes: int | None
    used_bytes: int
    gpus: Sequence[GpuUse] = ()


class MemoryBudgets:
    """Lets processes start as long as there is room for them, here and on their GPU.

    `gpu_bytes` is the budget of each GPU; None: `SHARE` of what it has. `program` tells of them.
    """

    def __init__(
        self,
        ram: MemoryBroker | None = None,
        *,
        gpus: Sequence[gpu.Gpu] = (),
        gpu_bytes: int | None = None,
        program: str = gpu.PROGRAM,
    ) -> None:
        self.ram = ram or MemoryBroker()
        self.gpus = gpus
        self._program, self._gpu_bytes = program, gpu_bytes
        self._brokers = {device.index: self._broker(device.index) for device in gpus}
        self._tenants: dict[Guest, OnGpu] = {}
        self._freed_s: dict[int, float] = {}
        self._measured_s: dict[Guest, float] = {}

    def change(
        self, *, budget_bytes: int | None, gpu_bytes: int | None, min_residency_s: float
    ) -> None:
        """Decide by other limits from now on."""
        self.ram.change(budget_bytes=budget_bytes, min_residency_s=min_residency_s)
        self._gpu_bytes = gpu_bytes
        for index, broker in self._brokers.items():
            broker.change(budget_bytes=self._budget(index), min_residency_s=min_residency_s)

    async def admit(self, guest: Guest) -> None:
        """Return when there is room for the process; see `MemoryBroker.admit`.

        Raises:
            EngineStartInterrupted, InsufficientMemory: as there.
        """
        await self.ram.admit(guest)
        if (tenant := self._tenant(guest)) is None:
            return
        try:
            await self._brokers[tenant.index].admit(tenant)
            await self._until_back(tenant)
        except BaseException:
            self.release(guest)
            raise

    def is_in_line(self, guest: Guest) -> bool:
        """Tell whether the process still waits for room."""
        tenant = self._tenants.get(guest)
        waits = tenant is not None and self._brokers[tenant.index].is_in_line(tenant)
        return waits or self.ram.is_in_line(guest)

    def release(self, guest: Guest) -> None:
        """Give back what was reserved for a process of which nothing is left."""
        self._measured_s.pop(guest, None)
        if (tenant := self._tenants.pop(guest, None)) is not None:
            self._freed_s[tenant.index] = time.monotonic()
            self._brokers[tenant.index].release(tenant)
        self.ram.release(guest)

    async def clear(self, guest: Guest) -> bool:
        """Have all others leave whom nobody needs now; see `MemoryBroker.clear`.

        All processes take up memory here, those on a GPU too.
        """
        return await self.ram.clear(guest)

    def use(self) -> MemoryUse:
        """Return what is taken now. Measures nothing."""
        names = {device.index: device.name for device in self.gpus}
        return MemoryUse(
            budget_bytes=self.ram.budget_bytes,
            used_bytes=self.ram.reserved_bytes,
            gpus=[
                GpuUse(
                    index=index,
                    name=names.get(index, ""),
                    budget_bytes=broker.budget_bytes,
                    used_bytes=broker.reserved_bytes,
                )
                for index, broker in sorted(self._brokers.items())
            ],
        )

    def poke(self) -> None:
        """Look again soon: something has changed."""
        for broker in (self.ram, *self._brokers.values()):
            broker.poke()

    async def measure(self, guest: Guest) -> None:
        """Find out what a process takes on which GPU, now and then; it may not have been known."""
        now_s = time.monotonic()
        is_due = now_s - self._measured_s.get(guest, -MEASURE_EVERY_S) >= MEASURE_EVERY_S
        if not self._brokers or guest.footprint is None or not is_due:
            return
        self._measured_s[guest] = now_s
        pids = await guest.pids()
        use = await gpu.read_use(self._program)
        indices = {device.uuid: device.index for device in self.gpus}
        taken = {
            index: sum(use[pid].get(uuid, 0) for pid in pids & use.keys())
            for uuid, index in indices.items()
        }
        index = max(taken, key=lambda each: taken[each])
        if self._measured_s.get(guest) != now_s:
            return  # it has gone meanwhile
        if taken[index]:
            guest.footprint.learn_gpu(index, taken[index])
            if (tenant := self._tenant(guest)) is not None:
                self._brokers[index].hold(tenant)

    def _tenant(self, guest: Guest) -> OnGpu | None:
        """Return the process as a GPU's tenant; None: it is none, or nobody knows that GPU."""
        index = None if guest.footprint is None else guest.footprint.gpu
        if index is None:
            return None
        if index not in self._brokers:
            if self._gpu_bytes is None:
                return None
            self._brokers[index] = self._broker(index)
        tenant = self._tenants.get(guest)
        if tenant is not None and tenant.index == index:
            return tenant
        if tenant is not None:  # it was thought to be on another one
            self._brokers[tenant.index].release(tenant)
        self._tenants[guest] = OnGpu(guest, index)
        return self._tenants[guest]

    def _broker(self, index: int) -> MemoryBroker:
        return self.ram.sibling(self._budget(index), f"GPU {index}: devices.gpu_memory")

    def _budget(self, index: int) -> int | None:
        if self._gpu_bytes is not None:
            return self._gpu_bytes
        totals = (device.total_bytes for device in self.gpus if device.index == index)
        return next((round(SHARE * total) for total in totals), None)

    async def _until_back(self, tenant: OnGpu) -> None:
        """Wait for what a process of ours took a moment ago until it is really free again."""
        freed_s = self._freed_s.get(tenant.index)
        if freed_s is None or not self.gpus or time.monotonic() >= freed_s + BACK_WITHIN_S:
            return
        free_bytes = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, freed_s + BACK_WITHIN_S - time.monotonic())):
                while True:
                    free_bytes = await self._free_bytes(tenant.index)
                    if free_bytes >= tenant.size_bytes:
                        return
                    await asyncio.sleep(LOOK_EVERY_S)
        log.warning(
            "gpu_memory_taken",
            gpu=tenant.index,
            free_mib=free_bytes // MIB,
            needed_mib=tenant.size_bytes // MIB,
        )

    async def _free_bytes(self, index: int) -> int:
        devices = await gpu.read_gpus(self._program)
        free = (each.total_bytes - each.used_bytes for each in devices if each.index == index)
        return next(free, 0)
