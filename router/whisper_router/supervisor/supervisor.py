"""All pools of a router: made, found, reported on and closed together."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog

from whisper_router.errors import ModelNotFound
from whisper_router.supervisor.guard import RunDirectory
from whisper_router.supervisor.memory import MemoryBroker
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.run import UNKILLABLE_S, Surroundings
from whisper_router.supervisor.status import PoolStatus
from whisper_router.tasks import Tasks

KILL_WAIT_S: Final = UNKILLABLE_S + 5

log = structlog.get_logger(__name__)


class Supervisor:
    """One pool per alias. Nothing is started before the first lease."""

    def __init__(
        self,
        specs: Iterable[PoolSpec],
        *,
        run_dir: Path,
        tasks: Tasks,
        memory: MemoryBroker | None = None,
    ) -> None:
        self._runs = RunDirectory(run_dir)
        self._tasks = tasks
        self.memory = MemoryBroker() if memory is None else memory
        surroundings = Surroundings(runs=self._runs, tasks=tasks, memory=self.memory)
        self._pools = {spec.alias: ModelPool(spec, surroundings) for spec in specs}

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

    async def statuses(self) -> Sequence[PoolStatus]:
        """Return every pool's status, in the order of the specifications."""
        return [await pool.status() for pool in self._pools.values()]

    async def close(self, *, deadline_s: float) -> None:
        """Stop all processes at once; after `deadline_s` kill what is left."""
        closing = [
            self._tasks.spawn(pool.close(), name=f"close {alias}")
            for alias, pool in self._pools.items()
        ]
        if not closing:
            return
        _, late = await asyncio.wait(closing, timeout=deadline_s)
        if late:
            log.warning("engines_killed", late=len(late), deadline_s=deadline_s)
            for pool in self._pools.values():
                pool.kill()
            await asyncio.wait(late, timeout=KILL_WAIT_S)
        await asyncio.to_thread(self._runs.close)
