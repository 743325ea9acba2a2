"""All pools together."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from support.processes import is_alive
from support.program_engine import ProgramEngine, ProgramOptions
from whisper_router.errors import ModelNotFound, ModelUnavailable, ShuttingDown
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.supervisor import Supervisor
from whisper_router.tasks import Tasks


async def no_model() -> Path:
    return Path("/dev/null")


async def missing_model() -> Path:
    raise ModelUnavailable("It is not here.")


def spec(alias: str, *flags: str, model=no_model, grace_s: float = 5.0) -> PoolSpec:
    return PoolSpec(
        alias=alias,
        engine=ProgramEngine(),
        options=ProgramOptions(flags=flags),
        model=model,
        supervision=SupervisionOptions(
            start_silence_s=20, start_limit_s=60, stop_grace_s=grace_s, idle_unload_s=None
        ),
    )


@contextlib.asynccontextmanager
async def opened(run_dir: Path, *specs: PoolSpec, deadline_s: float = 10.0):
    """Yield an open supervisor, and close it."""
    tasks = Tasks()
    supervisor = Supervisor(specs, run_dir=run_dir, tasks=tasks)
    await supervisor.open()
    yield supervisor
    await supervisor.close(deadline_s=deadline_s)
    await tasks.close()


async def test_an_alias_has_a_pool_and_an_unknown_name_has_none(tmp_path):
    """The error is the one that clients know."""
    async with asyncio.timeout(15), opened(tmp_path / "run", spec("one")) as supervisor:
        assert supervisor.pool("one").alias == "one"
        with pytest.raises(ModelNotFound, match="The model 'two' does not exist"):
            supervisor.pool("two")


async def test_a_broken_alias_does_not_disturb_the_others(tmp_path):
    """Other aliases are served while one cannot be."""
    specs = [spec("good"), spec("broken", model=missing_model)]
    async with asyncio.timeout(15), opened(tmp_path / "run", *specs) as supervisor:
        with pytest.raises(ModelUnavailable):
            await supervisor.pool("broken").warm()
        await supervisor.pool("good").warm()
        states = {status.alias: status.state for status in await supervisor.statuses()}
        assert states == {"good": State.READY, "broken": State.STOPPED}


async def test_close_stops_all_at_once_and_leaves_nothing(tmp_path):
    """Ten graces one after the other would be ten times too long."""
    specs = [spec(f"m{number}", "--ignore-sigterm", grace_s=0.2) for number in range(3)]
    passed: list[State] = []

    async def note(process) -> None:
        passed.append(await process.wait_for(State.STOPPING))
        passed.append(await process.wait_for(State.CLOSED))

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        async with opened(tmp_path / "run", *specs) as supervisor:
            await asyncio.gather(*(supervisor.pool(s.alias).warm() for s in specs))
            pids = [pid for status in await supervisor.statuses() for pid in status.pids]
            for each in specs:
                group.create_task(note(supervisor.pool(each.alias)._slots[0].process))
            await asyncio.sleep(0)
        with pytest.raises(ShuttingDown):
            await supervisor.pool("m0").warm()
    assert passed == [State.STOPPING] * 3 + [State.CLOSED] * 3
    assert len(pids) == 3
    assert not any(is_alive(pid) for pid in pids)
    assert [path for path in (tmp_path / "run").rglob("*") if not path.is_dir()] == []


async def test_who_ignores_the_deadline_is_killed_at_it(tmp_path):
    """The service manager's patience is shorter than an engine's grace may be."""
    stubborn = spec("m", "--ignore-sigterm", "--deaf", grace_s=60)
    async with asyncio.timeout(15):
        async with opened(tmp_path / "run", stubborn, deadline_s=0.1) as supervisor:
            await supervisor.pool("m").warm()
            [pid] = (await supervisor.statuses())[0].pids
    assert not is_alive(pid)


async def test_a_supervisor_without_aliases_opens_and_closes(tmp_path):
    """There is nothing to wait for."""
    async with asyncio.timeout(15), opened(tmp_path / "run") as supervisor:
        assert await supervisor.statuses() == []
