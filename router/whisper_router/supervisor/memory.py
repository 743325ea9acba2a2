"""The memory that engine processes may take together: reserved before a start, given back after.

One broker serves all pools of a router. Who wants to start waits in one line, so that no alias
starves; `room.make_room` decides, processes leave by themselves.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from whisper_router.errors import EngineStartInterrupted, InsufficientMemory
from whisper_router.supervisor.room import Occupant, make_room

MIB: Final = 1 << 20
LINGER_S: Final = 0.25
"""Between two chunks of one file nobody holds a lease for a moment: that is no idleness."""
GPU_PROCESS_BYTES: Final = 512 * MIB
"""What a process that computes on a GPU takes of the machine's memory, about: CUDA's libraries."""

CLEAR_WITHIN_S: Final = 15.0
"""How long those may take to leave who make room for a start that memory ran out for."""

log = structlog.get_logger(__name__)


class Footprint:
    """How much memory one process of an alias takes, as well as is known. Shared by its processes.

    What the configuration declares counts; otherwise what was measured last after work was done,
    and before that the catalogue's estimate or one from the size of the file. Of a process that
    computes on a GPU all this is about memory there; here it takes what its libraries need.
    """

    def __init__(
        self, *, declared_bytes: int | None, estimate_bytes: int | None, gpu: int | None = None
    ) -> None:
        self._declared_bytes, self._estimate_bytes = declared_bytes, estimate_bytes
        self.gpu = gpu
        """The GPU that it computes on; None: none, or it is not known yet."""
        self.measured_bytes = self._measured_gpu_bytes = 0

    @property
    def is_declared(self) -> bool:
        """Whether the configuration says how much it is."""
        return self._declared_bytes is not None

    @property
    def size_bytes(self) -> int:
        """What to reckon with in the machine's own memory."""
        if self.gpu is not None:
            return self.measured_bytes or GPU_PROCESS_BYTES
        return self._declared_bytes or self.measured_bytes or self._estimate_bytes or 0

    @property
    def gpu_bytes(self) -> int:
        """What to reckon with in the memory of its GPU."""
        if self.gpu is None:
            return 0
        return self._declared_bytes or self._measured_gpu_bytes or self._estimate_bytes or 0

    def look_at(self, model: Path) -> None:
        """Estimate by the model's file where nobody else has. Blocks: asks the file system."""
        if self._estimate_bytes is None:
            self._estimate_bytes = estimated_bytes(model)

    def learn(self, measured_bytes: int) -> None:
        """Take note of a measurement."""
        self.measured_bytes = measured_bytes

    def learn_gpu(self, index: int, measured_bytes: int) -> None:
        """Take note of the GPU that it computes on."""
        self.gpu, self._measured_gpu_bytes = index, measured_bytes


def estimated_bytes(model: Path) -> int:
    """Return what whisper.cpp takes for a model file, about.

    A line through the figures of its README ("Memory usage": tiny 75 MiB on disk, 273 MB loaded, to
    large 2.9 GiB, 3.9 GB), a little above them.
    """
    try:
        size = model.stat().st_size
    except OSError:  # the start will say so
        size = 0
    return round(1.3 * size) + 200 * MIB


class Tenant(Protocol):
    """A process as the broker sees it; see `room.Occupant`."""

    alias: str

    @property
    def is_pinned(self) -> bool:
        """Whether it stays, whoever wants to come."""
        ...

    @property
    def is_declared(self) -> bool:
        """Whether somebody has said how much memory it takes."""
        ...

    @property
    def size_bytes(self) -> int:
        """How much memory it takes, or will take."""
        ...

    def occupant(self) -> "Occupant[Tenant]":
        """Return what it is now."""
        ...

    def leave(self) -> None:
        """Stop once its leases have ended. Never waits."""
        ...


@dataclass(eq=False, slots=True)
class _Waiting:
    tenant: Tenant
    turn: "asyncio.Future[None]"


class MemoryBroker:
    """Lets processes start as long as they fit into `budget_bytes`; None: always.

    An estimate or a measurement may be wrong, so a process that should not fit at all may come when
    it is alone; one whose declared size does not fit may not. Nobody waits longer than `wait_s`.
    """

    def __init__(
        self,
        *,
        budget_bytes: int | None = None,
        min_residency_s: float = 0.0,
        wait_s: float = 300.0,
        name: str = "devices.memory",
    ) -> None:
        """`name` is what messages call the budget."""
        self.budget_bytes = budget_bytes
        self._name = name
        self._min_residency_s, self._wait_s = min_residency_s, wait_s
        self._held: list[Tenant] = []
        self._line: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._released = asyncio.Event()

    def change(self, *, budget_bytes: int | None, min_residency_s: float) -> None:
        """Decide by other limits from now on. What is there already stays until room is needed."""
        self.budget_bytes, self._min_residency_s = budget_bytes, min_residency_s
        self.poke()

    def sibling(self, budget_bytes: int | None, name: str) -> "MemoryBroker":
        """Return another one for another kind of memory, as patient as this one."""
        return MemoryBroker(
            budget_bytes=budget_bytes,
            min_residency_s=self._min_residency_s,
            wait_s=self._wait_s,
            name=name,
        )

    def hold(self, tenant: Tenant) -> None:
        """Count a process that is there already."""
        if tenant not in self._held:
            self._held.append(tenant)

    @property
    def reserved_bytes(self) -> int:
        """What the processes take that run, start or stop."""
        return sum(tenant.size_bytes for tenant in self._held)

    async def admit(self, tenant: Tenant) -> None:
        """Return when there is room for the process. `release` gives it back.

        Raises:
            EngineStartInterrupted: nobody wants it any more, and there is no room for it now.
            InsufficientMemory: it would not fit into an empty budget, or beside what is pinned, or
                there was no room for it in time.
        """
        if tenant in self._held:
            return
        size = tenant.size_bytes
        if self.budget_bytes is not None and size > self.budget_bytes and tenant.is_declared:
            raise InsufficientMemory(
                f"Model '{tenant.alias}' needs about {size // MIB} MiB of memory, and the budget "
                f"is {self.budget_bytes // MIB} MiB ({self._name}, models.{tenant.alias}.memory)."
            )
        if self._need(tenant) > self._free_bytes() and not tenant.occupant().is_wanted:
            raise EngineStartInterrupted(
                f"Model '{tenant.alias}' was not started: whoever wanted it has left."
            )
        waiting = _Waiting(tenant, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._decide()
        try:
            async with asyncio.timeout(self._wait_s):
                await waiting.turn
        except TimeoutError as error:
            self.release(tenant)
            raise InsufficientMemory(
                f"There was no room in memory for model '{tenant.alias}' within "
                f"{self._wait_s:.0f} s ({self._name})."
            ) from error
        except asyncio.CancelledError:
            self.release(tenant)  # it may have been admitted in the same instant
            raise
        finally:
            if waiting in self._line:
                self._line.remove(waiting)
                self.poke()

    def is_in_line(self, tenant: Tenant) -> bool:
        """Tell whether the process still waits for room."""
        return any(waiting.tenant is tenant for waiting in self._line)

    def release(self, tenant: Tenant) -> None:
        """Give back what was reserved for a process of which nothing is left."""
        if tenant in self._held:
            self._held.remove(tenant)
            self._released.set()
            self._released = asyncio.Event()
            self.poke()

    async def clear(self, tenant: Tenant) -> bool:
        """Have all others leave whom nobody needs now, and wait for that.

        For a start that memory ran out for, whatever the budget says. Return whether there is more
        room than before.
        """
        leaving = []
        for other in self._held:
            occupant = other.occupant()
            if other is not tenant and occupant.is_settled and not occupant.is_wanted:
                log.info("engine_evicted", alias=other.alias, makes_room_for=tenant.alias)
                leaving.append(other)
        for other in leaving:
            other.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLEAR_WITHIN_S):
                while any(other in self._held for other in leaving):
                    await self._released.wait()
        return bool(leaving)

    def poke(self) -> None:
        """Look again soon: something has changed."""
        if self._line and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._decide)

    def _decide(self) -> None:
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiting in [waiting for waiting in self._line if waiting.turn.done()]:
            self._line.remove(waiting)  # it left
        for waiting in list(self._line):
            if not self._has_sibling(waiting.tenant) and not self._settle(waiting):
                return  # whoever is behind it waits, too
        # Further processes of an alias come last, and at nobody's cost.
        for waiting in list(self._line):
            if self._need(waiting.tenant) <= self._free_bytes():
                self._admit(waiting)

    def _settle(self, waiting: _Waiting) -> bool:
        """Let one come, or fail; False: it has to wait, and so have all behind it."""
        tenant = waiting.tenant
        pinned = [held for held in self._held if held.is_pinned]
        if pinned and self._need(tenant) > self._budget() - sum(h.size_bytes for h in pinned):
            self._line.remove(waiting)
            names = ", ".join(sorted({f"'{held.alias}'" for held in pinned}))
            reason = f"There is no room for model '{tenant.alias}' beside the pinned {names}."
            waiting.turn.set_exception(InsufficientMemory(reason))
            return True
        if self._fits(tenant):
            self._admit(waiting)
            return True
        return False

    def _admit(self, waiting: _Waiting) -> None:
        self._line.remove(waiting)
        self._held.append(waiting.tenant)
        waiting.turn.set_result(None)

    def _has_sibling(self, tenant: Tenant) -> bool:
        return any(held.alias == tenant.alias for held in self._held)

    def _budget(self) -> float:
        return math.inf if self.budget_bytes is None else self.budget_bytes

    def _need(self, tenant: Tenant) -> float:
        return min(tenant.size_bytes, self._budget())

    def _free_bytes(self) -> float:
        return self._budget() - self.reserved_bytes

    def _fits(self, tenant: Tenant) -> bool:
        """Tell whether a process may come; if not, see to it that it may later."""
        now_s = time.monotonic()
        verdict = make_room(
            self._need(tenant),
            self._budget(),
            [held.occupant() for held in self._held],
            now_s=now_s,
            min_residency_s=self._min_residency_s,
        )
        for other in verdict.leave:
            log.info("engine_evicted", alias=other.alias, makes_room_for=tenant.alias)
            other.leave()
        if not verdict.fits:
            again_s = LINGER_S if verdict.again_s is None else max(0.0, verdict.again_s - now_s)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(again_s, self._decide)
        return verdict.fits
