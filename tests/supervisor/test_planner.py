"""What an alias's specification turns into, before anything runs."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel

from support.program_engine import ProcesslessEngine, ProgramEngine, ProgramOptions
from whisper_router.domain import Task
from whisper_router.engine_api import Endpoint
from whisper_router.errors import ModelUnavailable
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import Planner, PoolSpec
from whisper_router_engines.whispercpp.engine import WhisperCpp


def planner(surroundings, *, engine=None, model=None, **options) -> Planner:
    async def here() -> Path:
        return Path("/models/x.bin")

    spec = PoolSpec(
        alias="test",
        engine=engine or ProgramEngine(),
        options=ProgramOptions(**options),
        model=model or here,
        supervision=SupervisionOptions(
            start_silence_s=20, start_limit_s=60, stop_grace_s=5, idle_unload_s=None
        ),
    )
    return Planner(spec, surroundings, on_change=lambda: None)


async def test_there_is_a_place_for_each_process_that_the_engine_wants(surroundings):
    """Nothing is started by planning."""
    made = planner(surroundings, workers=4, processes=2)
    slots = await made.plan()
    assert [(slot.workers, slot.process.state) for slot in slots] == [(4, State.STOPPED)] * 2
    assert made.model == Path("/models/x.bin")


async def test_an_engine_without_processes_has_one_place_with_its_own_concurrency(surroundings):
    """Another server says how much it takes."""
    [slot] = await planner(surroundings, engine=ProcesslessEngine()).plan()
    assert (slot.workers, slot.process.state) == (2, State.STOPPED)
    await slot.process.close()


class TwoServers(ProcesslessEngine):
    """Has its work done at two addresses."""

    def endpoints(self, options: BaseModel) -> Sequence[Endpoint]:
        return [Endpoint(kind=self.endpoint_kind, url=f"http://{name}") for name in ("a", "b")]

    def takes_forms(self, options: BaseModel) -> bool:
        return True

    def wants_whole_forms(self, options: BaseModel) -> bool:
        return False

    def relay(self, http, endpoint, form):
        raise NotImplementedError


async def test_an_engine_with_several_servers_has_a_place_for_each(surroundings):
    """They share its concurrency."""
    slots = await planner(surroundings, engine=TwoServers()).plan()
    assert [slot.workers for slot in slots] == [1, 1]
    statuses = [await slot.status() for slot in slots]
    assert [status.url for status in statuses] == ["http://a", "http://b"]
    for slot in slots:
        await slot.process.close()


def spec(*, multilingual: bool | None) -> PoolSpec:
    return PoolSpec(
        alias="test",
        engine=WhisperCpp(),
        options=WhisperCpp.Options(),
        model=Path,
        supervision=SupervisionOptions(
            start_silence_s=20, start_limit_s=60, stop_grace_s=5, idle_unload_s=None
        ),
        multilingual=multilingual,
    )


def test_weights_known_to_hear_english_only_narrow_what_the_engine_can_do():
    """The engine does not know them yet; the catalogue does."""
    english = spec(multilingual=False).capabilities
    assert english.tasks == {Task.TRANSCRIBE}
    assert english.languages == {"en"}
    for known in (True, None):
        able = spec(multilingual=known).capabilities
        assert (able.tasks, able.languages) == (frozenset(Task), None)


async def test_a_model_that_is_not_there_stops_the_plan(surroundings):
    """The store's words reach the caller."""

    async def missing() -> Path:
        raise ModelUnavailable("It is not here.")

    with pytest.raises(ModelUnavailable, match="It is not here"):
        await planner(surroundings, model=missing).plan()
