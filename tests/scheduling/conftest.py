"""A dispatcher over real engine programs."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.program_engine import ProgramEngine, ProgramOptions
from whisper_router.errors import ModelUnavailable
from whisper_router.scheduling.dispatch import Dispatcher, QueueLimits
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.supervisor import Supervisor
from whisper_router.tasks import Tasks


async def no_model() -> Path:
    return Path("/dev/null")


async def absent_model() -> Path:
    raise ModelUnavailable("The model is not there.")


@pytest.fixture
async def make(tmp_path) -> AsyncIterator:
    """Return a function that makes a dispatcher with the given limits."""
    tasks = Tasks()
    spec = PoolSpec(
        alias="program",
        engine=ProgramEngine(),
        options=ProgramOptions(workers=2),
        model=no_model,
        supervision=SupervisionOptions(
            start_silence_s=20, start_limit_s=60, stop_grace_s=5, idle_unload_s=None
        ),
    )
    broken = replace(spec, alias="broken", model=absent_model)
    supervisor = Supervisor([spec, broken], run_dir=tmp_path, tasks=tasks)
    await supervisor.open()

    def make(
        alias: str = "program",
        *,
        max_chunks: int = 100,
        max_requests: int = 100,
        timeout_s: float = 30.0,
    ):
        limits = QueueLimits(max_chunks=max_chunks, max_requests=max_requests, timeout_s=timeout_s)
        return Dispatcher(supervisor.pool(alias), limits)

    yield make
    await supervisor.close(deadline_s=10)
    await tasks.close()
