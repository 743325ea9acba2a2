"""Turns an alias's specification into the processes that it is to have."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel

from whisper_router.domain import Task
from whisper_router.engine_api import Capabilities, Endpoint, Engine, Launch, RemoteEngine
from whisper_router.errors import EngineStartFailed
from whisper_router.supervisor.breaker import Breaker
from whisper_router.supervisor.external import External
from whisper_router.supervisor.memory import Footprint
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.process import EngineProcess
from whisper_router.supervisor.run import Blueprint, Surroundings
from whisper_router.supervisor.slot import Slot
from whisper_router.supervisor.wear import Wear, WearLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """What an alias is made of.

    `model` returns the weights' file and fetches it if need be; it is asked before each start and
    must be quick when the file is there. What it raises of ours is told to who waits.
    `weights` stands for the file in comparisons: two specifications that are equal need no new
    process. `memory_bytes` is what one process takes as the configuration declares it,
    `memory_estimate_bytes` as the catalogue does; None: not said.
    `multilingual` False: the weights are known to hear English only; None: they will tell.
    """

    alias: str
    engine: Engine
    options: BaseModel
    model: Callable[[], Awaitable[Path]] = field(compare=False)
    supervision: SupervisionOptions
    multilingual: bool | None = None
    weights: object = None
    memory_bytes: int | None = None
    memory_estimate_bytes: int | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do with the options, and with weights that are known."""
        able = self.engine.capabilities(self.options)
        if self.multilingual is not False:
            return able
        english = frozenset({"en"})
        return replace(
            able,
            tasks=able.tasks - {Task.TRANSLATE},
            languages=english if able.languages is None else able.languages & english,
        )


class Planner:
    """Asks the engine how many processes it wants, and makes them, stopped."""

    def __init__(
        self, spec: PoolSpec, surroundings: Surroundings, *, on_change: Callable[[], None]
    ) -> None:
        self._spec, self._surroundings, self._on_change = spec, surroundings, on_change
        self._footprint = Footprint(
            declared_bytes=spec.memory_bytes, estimate_bytes=spec.memory_estimate_bytes
        )
        self.model: Path | None = None
        """The weights that were used last."""

    async def plan(self) -> list[Slot]:
        """Fetch the model and return a place for each process.

        Raises:
            RouterError: what fetching the model raised.
            ConfigurationError: the engine cannot run with these options.
        """
        model = await self._fetch()
        endpoint = Endpoint(
            kind=self._spec.engine.endpoint_kind,
            url="http://engine",
            socket=self._surroundings.runs.new_socket(),
        )
        launch = self._spec.engine.launch(model, self._spec.options, endpoint)
        if launch is None:
            self.model = None
            return self._externals(endpoint)
        self._footprint.gpu = launch.gpu
        return [self._process(launch) for _ in range(launch.processes)]

    async def _fetch(self) -> Path:
        self.model = await self._spec.model()
        return self.model

    def _externals(self, endpoint: Endpoint) -> list[Slot]:
        """Return a place for each server of the engine; `endpoint` stands for one it hides."""
        engine, options = self._spec.engine, self._spec.options
        endpoints = [endpoint]
        if isinstance(engine, RemoteEngine):
            endpoints = list(engine.endpoints(options))
        workers = max(1, engine.capabilities(options).concurrency // len(endpoints))
        return [self._external(each, workers=workers) for each in endpoints]

    def _external(self, endpoint: Endpoint, *, workers: int) -> Slot:
        process = External(
            endpoint,
            alias=self._spec.alias,
            tasks=self._surroundings.tasks,
            is_ready=self._spec.engine.is_ready,
            on_change=self._on_change,
        )
        return Slot(
            process,
            workers=workers,
            idle_unload_s=None,
            breaker=Breaker(longest_pause_s=self._spec.supervision.longest_pause_s),
        )

    def _process(self, launch: Launch) -> Slot:
        memory = self._surroundings.memory

        async def model() -> Path:
            path = await self._fetch()
            await asyncio.to_thread(self._footprint.look_at, path)
            await memory.admit(slot)
            await slot.weights.note(path)
            return path

        blueprint = Blueprint(
            alias=self._spec.alias,
            endpoint_kind=self._spec.engine.endpoint_kind,
            model=model,
            launch=self._launch,
            is_ready=self._spec.engine.is_ready,
        )
        supervision = self._spec.supervision
        process = EngineProcess(
            blueprint, self._surroundings, options=supervision, on_change=self._on_change
        )
        idle_s = supervision.idle_unload_s
        slot = self._slot(process, workers=launch.workers, idle_unload_s=idle_s)
        return slot

    def _slot(self, process: EngineProcess, *, workers: int, idle_unload_s: float | None) -> Slot:
        options = self._spec.supervision
        limits = WearLimits(
            max_chunks=options.max_requests, max_growth_bytes=options.max_rss_growth_bytes
        )
        return Slot(
            process,
            workers=workers,
            idle_unload_s=idle_unload_s,
            breaker=Breaker(longest_pause_s=options.longest_pause_s),
            footprint=self._footprint,
            wear=Wear(limits, workers=workers),
            measure_every_s=options.measure_every_s,
        )

    def _launch(self, model: Path, endpoint: Endpoint) -> Launch:
        launch = self._spec.engine.launch(model, self._spec.options, endpoint)
        if launch is None:
            raise EngineStartFailed(f"Model '{self._spec.alias}' has no process to start.")
        return launch
