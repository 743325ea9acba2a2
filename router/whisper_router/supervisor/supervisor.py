"""All pools of a router: made, found, reported on and closed together."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from whisper_router.errors import ModelNotFound
from whisper_router.supervisor.budgets import MemoryBudgets
from whisper_router.supervisor.guard import RunDirectory
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.run import UNKILLABLE_S, Surroundings
from whisper_router.supervisor.status import PoolStatus
from whisper_router.tasks import Tasks

KILL_WAIT_S: Final = UNKILLABLE_S + 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Which aliases are not what they were."""

    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]


class Supervisor:
    """One pool per alias. Nothing is started before the first lease."""

    def __init__(
        self,
        specs: Iterable[PoolSpec],
        *,
        run_dir: Path,
        tasks: Tasks,
        memory: MemoryBudgets | None = None,
        child_files: int | None = None,
    ) -> None:
        self._runs = RunDirectory(run_dir)
        self._tasks = tasks
        self.memory = memory or MemoryBudgets()
        self._surroundings = Surroundings(
            runs=self._runs, tasks=tasks, memory=self.memory, child_files=child_files
        )
        self._pools = {spec.alias: ModelPool(spec, self._surroundings) for spec in specs}
        self._retired: list[ModelPool] = []

    async def open(self) -> None:
        """Make the run directory and end what an earlier router left behind.

        Raises:
            OSError: the directory cannot be made.
        """
        left = await asyncio.to_thread(self._runs.open)
        if left:
            log.warning("engines_swept", aliases=sorted({record.alias for record in left}))

    def pool(self, alias: str) -> ModelPool:
        """Return the alias's pool.

        Raises:
            ModelNotFound: there is no such alias.
        """
        try:
            return self._pools[alias]
        except KeyError:
            raise ModelNotFound(f"The model '{alias}' does not exist.") from None

    def pools(self) -> Sequence[ModelPool]:
        """Return every alias's pool, in the order of the specifications."""
        return list(self._pools.values())

    def replace(self, specs: Iterable[PoolSpec]) -> Changes:
        """Serve other specifications from now on. Never waits.

        A pool whose specification is the same as before is kept as it is. One that is not needed
        any more stays for those who still use it, and is unloaded whenever they do not.
        """
        before, now = self._pools, {spec.alias: spec for spec in specs}
        self._pools = {}
        changed: list[str] = []
        for alias, spec in now.items():
            old = before.get(alias)
            if old is not None and old.spec == spec:
                self._pools[alias] = old
                continue
            self._pools[alias] = ModelPool(spec, self._surroundings)
            if old is not None:
                changed.append(alias)
        for alias, pool in before.items():
            if self._pools.get(alias) is not pool:
                pool.retire()
                self._retired.append(pool)
        return Changes(
            added=sorted(now.keys() - before.keys()),
            removed=sorted(before.keys() - now.keys()),
            changed=sorted(changed),
        )

    async def statuses(self) -> Sequence[PoolStatus]:
        """Return every pool's status, in the order of the specifications."""
        return [await pool.status() for pool in self._pools.values()]

    async def close(self, *, deadline_s: float) -> None:
        """Stop all processes at once; after `deadline_s` kill what is left."""
        closing = [
            self._tasks.spawn(pool.close(), name=f"close {pool.alias}") for pool in self._all()
        ]
        if not closing:
            return
        _, late = await asyncio.wait(closing, timeout=deadline_s)
        if late:
            log.warning("engines_killed", late=len(late), deadline_s=deadline_s)
            for pool in self._all():
                pool.kill()
            await asyncio.wait(late, timeout=KILL_WAIT_S)
        await asyncio.to_thread(self._runs.close)

    def _all(self) -> list[ModelPool]:
        return [*self._pools.values(), *self._retired]
