"""A pool of scripted engines with a chunk runner over it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.scripted_engine import ScriptedEngine, write_script
from whisper_router.domain import Chunk, LanguageDetected, Segment, TranscriptionRequest
from whisper_router.engine_api import Engine
from whisper_router.pipeline.chunk import ChunkBudget, ChunkRunner
from whisper_router.pipeline.poison import Poison
from whisper_router.scheduling.dispatch import Dispatcher, QueueLimits
from whisper_router.supervisor.guard import RunDirectory
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.run import Surroundings
from whisper_router.tasks import Tasks

CHUNK = Chunk(path=Path("/dev/null"), start=5 * 16_000, end=13 * 16_000)
TEXT = "".join(f" w{second}" for second in range(5, 13))
REQUEST = TranscriptionRequest(model="test")
LIMITS = QueueLimits(max_chunks=100, max_requests=100, timeout_s=30.0)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A pool of one engine, and a runner over it."""

    pool: ModelPool
    runner: ChunkRunner
    heard: list[LanguageDetected | Segment] = field(default_factory=list)

    async def listen(self, request: TranscriptionRequest = REQUEST) -> None:
        """Put everything that comes into `heard`."""
        async with asyncio.timeout(20), aclosing(self.runner.run(CHUNK, request)) as events:
            async for event in events:
                self.heard.append(event)

    @property
    def segments(self) -> list[Segment]:
        return [event for event in self.heard if isinstance(event, Segment)]

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments)


@pytest.fixture
async def make_bench(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    """Make a bench of scripted engines, or of a given one; its processes end with the test."""
    runs, tasks, pools = RunDirectory(tmp_path / "run"), Tasks(), []
    await asyncio.to_thread(runs.open)

    def make(
        *plans: dict[str, Any],
        engine: Engine | None = None,
        budget_s: float = 20.0,
        factor: float = 0.0,
        **losses: Any,
    ) -> Bench:
        script = write_script(tmp_path / "script", plans)

        async def model() -> Path:
            return script

        plugin = engine or ScriptedEngine()
        supervision = SupervisionOptions(
            start_silence_s=20.0,
            start_limit_s=20.0,
            stop_grace_s=5.0,
            idle_unload_s=None,
            worker_grace_s=0.2,
        )
        spec = PoolSpec(
            alias="test",
            engine=plugin,
            options=plugin.Options(),
            model=model,
            supervision=supervision,
        )
        pool = ModelPool(spec, Surroundings(runs=runs, tasks=tasks))
        pools.append(pool)
        budget = ChunkBudget(floor_s=budget_s, factor=factor)
        dispatcher = Dispatcher(pool, LIMITS)
        return Bench(pool=pool, runner=ChunkRunner(dispatcher, budget, Poison(), **losses))

    yield make
    async with asyncio.timeout(20):
        for pool in pools:
            await pool.close()
        await tasks.close()
