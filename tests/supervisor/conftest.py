"""Every test of this package runs on both event loops and leaves no process behind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from support.blocking import no_blocking_calls
from support.processes import children
from support.program_engine import ProgramEngine, ProgramOptions, program_argv
from whisper_router.engine_api import Endpoint, Engine, Launch
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.supervisor.budgets import MemoryBudgets
from whisper_router.supervisor.guard import RunDirectory
from whisper_router.supervisor.memory import MemoryBroker
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.process import EngineProcess
from whisper_router.supervisor.run import Blueprint, Surroundings
from whisper_router.tasks import Tasks


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def blocking_detection() -> Iterator[None]:
    """Fail on a blocking call from our modules inside the event loop."""
    with no_blocking_calls():
        yield


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    """Logs as in production: the colourful default reads source files to show a traceback."""
    configure_logging(level="debug", style=LogFormat.JSON)


@pytest.fixture(autouse=True)
def no_stray_children() -> Iterator[None]:
    """Every process that a test started is reaped when it ends."""
    before = children()
    yield
    assert children() - before == set()


@pytest.fixture
async def surroundings(tmp_path: Path) -> AsyncIterator[Surroundings]:
    """A run directory and an owner of tasks."""
    runs, tasks = RunDirectory(tmp_path / "run"), Tasks()
    await asyncio.to_thread(runs.open)
    (tmp_path / "vmstat").write_text("oom_kill 0\n")
    yield Surroundings(runs=runs, tasks=tasks, vmstat=tmp_path / "vmstat")
    await tasks.close()
    await asyncio.to_thread(runs.close)


def supervision(
    *,
    silence_s: float = 20.0,
    limit_s: float = 60.0,
    grace_s: float = 5.0,
    idle_unload_s: float | None = None,
    queue_limit: int = 100,
    longest_pause_s: float = 60.0,
    **recycling,
) -> SupervisionOptions:
    return SupervisionOptions(
        start_silence_s=silence_s,
        start_limit_s=limit_s,
        stop_grace_s=grace_s,
        idle_unload_s=idle_unload_s,
        queue_limit=queue_limit,
        longest_pause_s=longest_pause_s,
        worker_grace_s=0.3,
        **recycling,
    )


async def no_model() -> Path:
    return Path("/dev/null")


@pytest.fixture
async def make_process(surroundings: Surroundings) -> AsyncIterator[Callable[..., EngineProcess]]:
    """Make processes of the support program, or of any command; they are closed at the end."""
    made: list[EngineProcess] = []

    def make(
        *flags: str,
        engine: ProgramEngine | None = None,
        argv: Callable[[Endpoint], tuple[str, ...]] | None = None,
        model=no_model,
        **tunables,
    ) -> EngineProcess:
        plugin = engine or ProgramEngine()

        def launch(model: Path, endpoint: Endpoint) -> Launch:
            return Launch(argv=argv(endpoint) if argv else program_argv(endpoint, *flags))

        blueprint = Blueprint(
            alias="test",
            endpoint_kind=plugin.endpoint_kind,
            model=model,
            launch=launch,
            is_ready=plugin.is_ready,
        )
        made.append(EngineProcess(blueprint, surroundings, options=supervision(**tunables)))
        return made[-1]

    yield make
    async with asyncio.timeout(20):
        for process in made:
            await process.close()


@pytest.fixture
async def make_pool(surroundings: Surroundings) -> AsyncIterator[Callable[..., ModelPool]]:
    """Make pools of the support program; they are closed at the end."""
    made: list[ModelPool] = []

    def make(
        *flags: str,
        engine: Engine | None = None,
        workers: int = 1,
        processes: int = 1,
        model=no_model,
        alias: str = "test",
        memory_bytes: int | None = None,
        memory: MemoryBroker | MemoryBudgets | None = None,
        **tunables,
    ) -> ModelPool:
        spec = PoolSpec(
            alias=alias,
            memory_bytes=memory_bytes,
            engine=engine or ProgramEngine(),
            options=ProgramOptions(flags=flags, workers=workers, processes=processes),
            model=model,
            supervision=supervision(**tunables),
        )
        if isinstance(memory, MemoryBroker):
            memory = MemoryBudgets(memory)
        shared = surroundings if memory is None else replace(surroundings, memory=memory)
        made.append(ModelPool(spec, shared))
        return made[-1]

    yield make
    async with asyncio.timeout(20):
        for pool in made:
            await pool.close()
