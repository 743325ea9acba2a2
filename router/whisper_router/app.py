"""The composition root: builds everything from the settings, and takes it down in order."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from whisper_router.aliases import Aliases, build_aliases
from whisper_router.audio.media import MediaLimits, VadOptions
from whisper_router.audio.media_pool import MediaPool
from whisper_router.audio.spool import Spool
from whisper_router.errors import ConfigurationError
from whisper_router.live.session import LiveOptions
from whisper_router.live.turns import TurnOptions
from whisper_router.models.fetch_job import FetchLimits
from whisper_router.models.source import ModelSpec
from whisper_router.models.store import ModelStore, StoreConfig
from whisper_router.pipeline.chunk import ChunkBudget
from whisper_router.pipeline.live import LiveDefaults, LiveSessions
from whisper_router.pipeline.relay import Relay
from whisper_router.pipeline.stages import Stages
from whisper_router.pipeline.transcribe import ChunkOptions, Transcriber
from whisper_router.places import run_directory, spool_root, store_directory
from whisper_router.plugins import load_alignments, load_diarizations, load_engines
from whisper_router.scheduling.dispatch import Dispatchers, QueueLimits
from whisper_router.settings import Settings
from whisper_router.supervisor.budgets import MemoryBudgets
from whisper_router.supervisor.gpu import read_gpus
from whisper_router.supervisor.machine_memory import usable_bytes
from whisper_router.supervisor.memory import MemoryBroker
from whisper_router.supervisor.options import SupervisionOptions
from whisper_router.supervisor.planner import PoolSpec
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.supervisor import Supervisor
from whisper_router.tasks import Tasks

STOP_MARGIN_S = 5.0
"""How long stopping engines may take beyond their own grace before all is killed."""


@dataclass(slots=True, kw_only=True)
class Current:
    """What a reload changes, all at once."""

    settings: Settings
    aliases: Aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """Everything that recognises speech, without any protocol in front of it."""

    current: Current
    store: ModelStore
    supervisor: Supervisor
    spool: Spool
    media: MediaPool
    dispatchers: Dispatchers
    stages: Stages
    transcriber: Transcriber
    live: LiveSessions
    relay: Relay
    tasks: Tasks

    @property
    def settings(self) -> Settings:
        """The settings in effect."""
        return self.current.settings

    @property
    def aliases(self) -> Aliases:
        """What every model name means now."""
        return self.current.aliases


@asynccontextmanager
async def build_router(
    settings: Settings, *, child_files: int | None = None
) -> AsyncIterator[Router]:
    """Build everything; engines start with the first request, preloaded ones now.

    `child_files`: how many descriptors an engine may have; None: as many as this process. At
    the end engines stop first, then the media workers; then files are deleted.

    Raises:
        ConfigurationError: an alias, an engine option or a directory cannot be used.
    """
    current = Current(settings=settings, aliases=build_aliases(settings, load_engines()))
    stages = build_stages(settings)
    async with AsyncExitStack() as stack:
        tasks = Tasks()
        stack.push_async_callback(tasks.close)
        spool = stack.enter_context(await asyncio.to_thread(Spool.create, spool_root(settings)))
        media = MediaPool(
            workers=settings.audio.media_workers,
            limits=_media_limits(settings),
            tasks=tasks,
            scratch=spool.directory,
        )
        await media.start()
        stack.push_async_callback(media.close)
        store = build_store(settings, tasks)
        supervisor = await _supervisor(current, store, tasks, stack, child_files=child_files)
        dispatchers = Dispatchers(_PoolByName(current, supervisor), _queue_limits(settings))
        live = _live(current, spool, dispatchers)
        stack.callback(live.close)
        router = Router(
            current=current,
            store=store,
            supervisor=supervisor,
            spool=spool,
            media=media,
            dispatchers=dispatchers,
            stages=stages,
            transcriber=_transcriber(
                settings, media, spool, dispatchers, stages=stages, tasks=tasks
            ),
            live=live,
            relay=Relay(dispatchers),
            tasks=tasks,
        )
        preload(router, settings.models)
        yield router


def build_store(settings: Settings, tasks: Tasks) -> ModelStore:
    """Return the model store that the settings describe."""
    token = settings.store.token
    return ModelStore(
        config=StoreConfig(
            directory=store_directory(settings),
            auto_download=settings.store.auto_download,
            wait_s=settings.store.wait_s,
            endpoint=settings.store.endpoint,
            token=token.get_secret_value() if token else None,
            offline=settings.store.offline,
            limits=FetchLimits(min_free_bytes=settings.store.min_free_bytes),
        ),
        tasks=tasks,
    )


class _PoolByName:
    """Finds the pool of whatever name a request uses."""

    def __init__(self, current: Current, supervisor: Supervisor) -> None:
        self._current, self._supervisor = current, supervisor

    def __call__(self, name: str) -> ModelPool:
        return self._supervisor.pool(self._current.aliases.catalog.resolve(name).alias)


async def _supervisor(
    current: Current,
    store: ModelStore,
    tasks: Tasks,
    stack: AsyncExitStack,
    *,
    child_files: int | None,
) -> Supervisor:
    settings = current.settings
    budget_bytes = await asyncio.to_thread(memory_budget, settings)
    supervisor = Supervisor(
        pool_specs(settings, current.aliases, store),
        run_dir=run_directory(settings),
        tasks=tasks,
        child_files=child_files,
        memory=MemoryBudgets(
            MemoryBroker(
                budget_bytes=budget_bytes,
                min_residency_s=settings.devices.min_residency_s,
                wait_s=settings.queue.timeout_s,
            ),
            gpus=await read_gpus(),
            gpu_bytes=gpu_budget(settings),
        ),
    )
    try:
        await supervisor.open()
    except OSError as error:
        raise ConfigurationError(f"the run directory cannot be used: {error}") from error
    deadline_s = settings.supervision.stop_grace_s + STOP_MARGIN_S
    stack.push_async_callback(supervisor.close, deadline_s=deadline_s)
    return supervisor


def pool_specs(settings: Settings, aliases: Aliases, store: ModelStore) -> Iterator[PoolSpec]:
    """Yield what each alias's pool is made of.

    Raises:
        ConfigurationError: an engine's options are wrong.
    """
    specs = {listed.spec.alias: listed.spec for listed in aliases.catalog.list_all()}
    for spec in specs.values():
        if spec.engine in aliases.engines:
            yield PoolSpec(
                alias=spec.alias,
                engine=aliases.engine(spec),
                options=aliases.options(spec),
                model=partial(store.ensure, spec),
                supervision=_supervision(settings, spec),
                multilingual=spec.multilingual,
                weights=spec.source,
                memory_bytes=_declared_bytes(settings, spec.alias),
                memory_estimate_bytes=spec.memory_bytes,
            )


def memory_budget(settings: Settings) -> int | None:
    """Return what all engines may take together; None: as much as they want. Reads files."""
    wanted = settings.devices.memory
    return usable_bytes() if wanted == "auto" else wanted


def gpu_budget(settings: Settings) -> int | None:
    """Return what engines may take together of each GPU; None: most of what it has."""
    wanted = settings.devices.gpu_memory
    return None if wanted == "auto" else wanted


def _declared_bytes(settings: Settings, alias: str) -> int | None:
    own = settings.models.get(alias)
    return None if own is None or own.memory == "auto" else own.memory


def _supervision(settings: Settings, spec: ModelSpec) -> SupervisionOptions:
    common = settings.supervision
    own = settings.models.get(spec.alias)

    def chosen(name: str) -> Any:
        """Return the alias's own value where it has one."""
        value = getattr(own, name, None)
        return getattr(common, name) if value is None else value

    return SupervisionOptions(
        start_silence_s=common.start_silence_s,
        start_limit_s=common.start_limit_s,
        stop_grace_s=common.stop_grace_s,
        longest_pause_s=common.longest_pause_s,
        idle_unload_s=chosen("idle_unload_s") or None,
        max_requests=chosen("max_requests") or None,
        max_rss_growth_bytes=chosen("max_rss_growth") or None,
    )


def _queue_limits(settings: Settings) -> QueueLimits:
    queue = settings.queue
    return QueueLimits(
        max_chunks=queue.max_chunks, max_requests=queue.max_requests, timeout_s=queue.timeout_s
    )


def build_stages(settings: Settings) -> Stages:
    """Return the installed plugins of the stages around recognition.

    Raises:
        ConfigurationError: one cannot be loaded, or the configured one is not installed.
    """
    diarizations, chosen = load_diarizations(), settings.stages.diarization
    if chosen and chosen not in diarizations:
        known = ", ".join(sorted(diarizations)) or "none"
        raise ConfigurationError(
            f"stages.diarization: no diarization '{chosen}' is installed; installed are: {known}"
        )
    return Stages(
        engines=load_engines(),
        alignments=load_alignments(),
        diarizations=diarizations,
        diarization=chosen,
    )


def _transcriber(
    settings: Settings,
    media: MediaPool,
    spool: Spool,
    dispatchers: Dispatchers,
    *,
    stages: Stages,
    tasks: Tasks,
) -> Transcriber:
    vad = settings.vad
    return Transcriber(
        media=media,
        spool=spool,
        dispatcher_of=dispatchers,
        options=ChunkOptions(
            vad=VadOptions(
                threshold=vad.threshold,
                min_speech_s=vad.min_speech_s,
                min_silence_s=vad.min_silence_s,
                pad_s=vad.pad_s,
                min_contrast_db=vad.min_contrast_db,
            ),
            vad_by_default=vad.enabled,
            max_silence_s=vad.max_silence_s,
            budget=_chunk_budget(settings),
        ),
        stages=stages,
        tasks=tasks,
    )


def _live(current: Current, spool: Spool, dispatchers: Dispatchers) -> LiveSessions:
    live = current.settings.live

    def most_of(alias: str) -> int:
        own = current.settings.models.get(alias)
        return live.max_sessions if own is None or own.max_sessions is None else own.max_sessions

    return LiveSessions(
        spool=spool,
        dispatcher_of=dispatchers,
        most_of=most_of,
        limits=LiveDefaults(
            options=LiveOptions(
                turns=TurnOptions(
                    threshold=current.settings.vad.threshold, silence_s=live.silence_s
                ),
                step_s=live.step_s,
                max_utterance_s=live.max_utterance_s,
            ),
            budget=_chunk_budget(current.settings),
        ),
    )


def _chunk_budget(settings: Settings) -> ChunkBudget:
    return ChunkBudget(
        floor_s=settings.supervision.chunk_timeout_s,
        factor=settings.supervision.chunk_timeout_factor,
    )


def _media_limits(settings: Settings) -> MediaLimits:
    return MediaLimits(
        max_duration_s=settings.audio.max_duration_s,
        memory_bytes=settings.audio.decode_memory_bytes,
        time_floor_s=settings.audio.decode_timeout_s,
        time_per_mib_s=settings.audio.decode_timeout_s_per_mib,
    )


def preload(router: Router, aliases: Iterable[str]) -> None:
    """Start the engines of those aliases that are to start before anybody asks."""
    for alias in aliases:
        if router.settings.models[alias].preload:
            pool = router.supervisor.pool(alias)
            router.tasks.spawn(pool.warm(), name=f"preload {alias}")
