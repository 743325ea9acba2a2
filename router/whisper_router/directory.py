"""The models as clients see them: names, states, and whether requests can be served."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress

from whisper_router.api.services import ModelEntry, Readiness
from whisper_router.api.wyoming.info import SpeechModel
from whisper_router.app import Router
from whisper_router.errors import ModelInUse, ModelNotFound, PermissionDenied, RouterError
from whisper_router.languages import LANGUAGES
from whisper_router.models.catalog import Catalog
from whisper_router.models.download import DownloadProgress, OnProgress
from whisper_router.models.source import NO_WEIGHTS, HubFile, LocalFile, ModelSource, ModelSpec
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import State
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolBrief

LOW_SPOOL_BYTES = 64 << 20


class Directory:
    """Answers `/v1/models` and `/ready` from the catalogue, the store and the supervisor."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._created = int(time.time())
        self._users: Counter[ModelPool] = Counter()
        """How many requests use each pool."""
        self._retry: asyncio.Task[None] | None = None

    @property
    def _catalog(self) -> Catalog:
        return self._router.aliases.catalog

    async def catalogue(self) -> Sequence[ModelEntry]:
        """Return every model by its own name, whether its file is here or not."""
        specs = {spec.alias: spec for spec in self._runnable()}
        here = await self._here(list(specs.values()))
        return [self._entry(name, spec, here) for name, spec in specs.items()]

    def loaded(self) -> Sequence[str]:
        """Return the aliases that an engine serves now."""
        pools = self._router.supervisor.pools()
        return [pool.alias for pool in pools if pool.brief().state is State.READY]

    async def load(self, name: str) -> bool:
        """Return once an engine serves the model; False: one did before.

        Raises:
            ModelNotFound: there is no such model.
            RouterError: as `ModelPool.warm`.
        """
        pool = self._pool(self._catalog.resolve(name))
        if pool.brief().state is State.READY:
            return False
        await pool.warm()
        return True

    async def unload(self, name: str) -> bool:
        """Stop the model's engine, which nobody may use; False: there was none.

        Raises:
            ModelNotFound: there is no such model.
            ModelInUse: somebody uses it, or waits for it.
            PermissionDenied: its engine is elsewhere.
        """
        spec = self._catalog.resolve(name)
        if spec.source is NO_WEIGHTS:
            raise PermissionDenied(f"The model '{name}' is served elsewhere.")
        self._check_idle(spec)
        pool = self._pool(spec)
        if pool.brief().state is State.STOPPED:
            return False
        await pool.unload()
        return True

    async def pull(self, name: str, on_progress: OnProgress | None = None) -> bool:
        """Do as `download`, and call `on_progress` now and then.

        Raises:
            PermissionDenied: as `download`; or the model is served elsewhere.
        """
        if self._catalog.resolve(name).source is NO_WEIGHTS:
            raise PermissionDenied(
                f"The model '{name}' is served elsewhere: it has no file on this machine."
            )
        return await self.download(name, on_progress)

    async def download(self, name: str, on_progress: OnProgress | None = None) -> bool:
        """Fetch the model's file, also where requests may not; False: it was here.

        Raises:
            ModelNotFound: there is no such model.
            PermissionDenied: it is a file of this machine, which is nowhere to be fetched.
            ModelUnavailable, StorageFull: as `ModelStore.fetch`.
        """
        source = self._catalog.resolve(name).source
        if await asyncio.to_thread(self._router.store.present, source) is not None:
            return False
        if isinstance(source, LocalFile):
            raise PermissionDenied(
                f"The model '{name}' is a file of the server's own, {source.path.name}, which is "
                "not there: it can only be put there by hand."
            )
        await self._router.store.fetch(source, on_progress=on_progress)
        return True

    async def remove(self, name: str) -> None:
        """Unload a model, under all names of its file, and delete the file.

        Raises:
            ModelNotFound: there is no such model, or its file is not here.
            PermissionDenied: the file was not fetched by this server.
            ModelInUse: somebody uses it, or it is being fetched.
            RouterError: as `ModelStore.remove`.
        """
        source, store = self._catalog.resolve(name).source, self._router.store
        if isinstance(source, LocalFile):
            raise PermissionDenied(
                f"The model '{name}' was not fetched by this server, which deletes nothing else."
            )
        if store.progress(source) is not None:
            raise ModelInUse(f"The model '{name}' is being downloaded.")
        if await asyncio.to_thread(store.present, source) is None:
            raise ModelNotFound(f"The file of the model '{name}' is not here.")
        path = store.path(source)
        same = [spec for spec in self._runnable() if store.path(spec.source) == path]
        for spec in same:
            self._check_idle(spec)
        for spec in same:
            await self.unload(spec.alias)
        await store.remove(source)

    def check(self, name: str) -> None:
        """Raise ModelNotFound if there is no model `name`."""
        self._catalog.resolve(name)

    def alias(self, name: str) -> str:
        """Return the alias that a name means. Raises ModelNotFound."""
        return self._catalog.resolve(name).alias

    def failing(self) -> Sequence[str]:
        """Return the aliases whose engines are left alone because they do not start."""
        pools = self._router.supervisor.pools()
        return [pool.alias for pool in pools if pool.brief().breaker is not BreakerState.CLOSED]

    @contextmanager
    def in_use(self, name: str, keep_alive_s: float | None) -> Iterator[None]:
        """Note that a request uses a model; the last one decides how long its engine stays."""
        pool = self._pool(self._catalog.resolve(name))
        if not self._users[pool]:
            pool.keep_alive(None)  # what an earlier one has wanted is over
        self._users[pool] += 1
        try:
            yield
        finally:
            self._users[pool] -= 1
            if not self._users[pool]:
                del self._users[pool]
                pool.keep_alive(keep_alive_s)

    async def models(self) -> Sequence[ModelEntry]:
        """Return what `/v1/models` lists: presets only once their files are here."""
        every = self._catalog.list_all()
        here = await self._here([item.spec for item in every])
        listed = self._catalog.list(installed=lambda source: source in here)
        return [self._entry(item.id, item.spec, here) for item in listed]

    async def model(self, name: str) -> ModelEntry:
        """Return the entry for any name that requests may use.

        Raises:
            ModelNotFound: there is none.
        """
        spec = self._catalog.resolve(name)
        return self._entry(name, spec, await self._here([spec]))

    async def speech_models(self) -> Sequence[SpeechModel]:
        """Return the models by their own names, the default one first, without loading any."""
        every = self._catalog.list_all()
        here = await self._here([item.spec for item in every])
        listed = self._catalog.list(installed=lambda source: source in here)
        specs = [item.spec for item in listed if item.id == item.spec.alias]
        default = self._catalog.default.alias
        specs.sort(key=lambda spec: spec.alias != default)
        return [self._speech_model(spec, is_here=spec.source in here) for spec in specs]

    async def ready(self) -> Readiness:
        """Return whether the default model could serve now, and what stands in the way.

        One that did not start is tried again, as its breaker permits: whoever asks this sends no
        requests to a server that is not ready, so nobody else would.
        """
        spec = self._catalog.default
        here = await self._here([spec])
        free_bytes = await asyncio.to_thread(self._router.spool.free_bytes)
        reasons = list(self._obstacles(spec, is_here=bool(here), free_bytes=free_bytes))
        if here and self._brief(spec).start_error is not None:
            self._try_again(self._pool(spec))
        return Readiness(ok=not reasons, reasons=reasons)

    def _runnable(self) -> Iterator[ModelSpec]:
        """Return the models whose engines are installed, some of them more than once."""
        engines = self._router.aliases.engines
        listed = self._catalog.list_all()
        return (item.spec for item in listed if item.spec.engine in engines)

    def _check_idle(self, spec: ModelSpec) -> None:
        """Raise ModelInUse if a request, a live session or a job uses the model now."""
        queues = self._router.dispatchers
        if (
            self._users[self._pool(spec)]
            or queues.running().get(spec.alias)
            or queues.waiting().get(spec.alias)
        ):
            raise ModelInUse(f"The model '{spec.alias}' is in use. Try again later.")

    async def _here(self, specs: Sequence[ModelSpec]) -> AbstractSet[ModelSource]:
        """Return the sources whose files are on the disk, which may be slow to answer."""
        present, sources = self._router.store.present, {spec.source for spec in specs}
        return await asyncio.to_thread(lambda: {item for item in sources if present(item)})

    def _obstacles(self, spec: ModelSpec, *, is_here: bool, free_bytes: int) -> Iterator[str]:
        if not is_here:
            if not self._can_come(spec.source):
                yield (
                    f"The file of the default model '{spec.alias}' is not here: "
                    f"{self._router.store.path(spec.source)}."
                )
        elif (error := self._brief(spec).start_error) is not None:
            yield f"The default model '{spec.alias}' does not start: {error}"
        if (failure := self._router.media.failure) is not None:
            yield f"{failure.rstrip('.')}."
        if free_bytes < LOW_SPOOL_BYTES:
            yield "The disk of the spool directory is full."

    def _try_again(self, pool: ModelPool) -> None:
        if self._retry is None or self._retry.done():
            self._retry = self._router.tasks.spawn(_warm(pool), name=f"retry {pool.alias}")

    def _entry(self, name: str, spec: ModelSpec, here: AbstractSet[ModelSource]) -> ModelEntry:
        extra = self._extra(name, spec, is_here=spec.source in here)
        return ModelEntry(
            id=name,
            created=self._created,
            owned_by=spec.origin.value,
            languages=self._languages(spec),
            extra={key: value for key, value in extra if value is not None},
        )

    def _speech_model(self, spec: ModelSpec, *, is_here: bool) -> SpeechModel:
        source = spec.source
        return SpeechModel(
            name=spec.alias,
            languages=self._languages(spec),
            is_installed=is_here or self._can_come(source),
            description=spec.description,
            maker=source.repo if isinstance(source, HubFile) else "",
            url=f"https://huggingface.co/{source.repo}" if isinstance(source, HubFile) else "",
        )

    def _languages(self, spec: ModelSpec) -> Sequence[str]:
        known = self._pool(spec).capabilities.languages
        return [code for code in LANGUAGES if known is None or code in known]

    def _can_come(self, source: ModelSource) -> bool:
        """Return whether a file that is not here would be fetched."""
        store = self._router.settings.store
        return not isinstance(source, LocalFile) and store.auto_download and not store.offline

    def _extra(self, name: str, spec: ModelSpec, *, is_here: bool) -> Iterator[tuple[str, object]]:
        pool, download = self._brief(spec), self._download(spec)
        yield "model", spec.alias if spec.alias != name else None
        yield "engine", spec.engine
        if is_here:
            yield "state", pool.state.value
        else:
            yield "state", "absent" if download is None else "downloading"
            yield "download_percent", None if download is None else download.percent
        yield "acceleration", _acceleration(pool)
        yield "memory_bytes", pool.memory_bytes or None
        yield "gpu_memory_bytes", pool.gpu_memory_bytes or None
        yield "last_error", pool.last_error
        yield "breaker", None if pool.breaker is BreakerState.CLOSED else pool.breaker.value

    def _download(self, spec: ModelSpec) -> DownloadProgress | None:
        if isinstance(spec.source, LocalFile):
            return None
        return self._router.store.progress(spec.source)

    def _brief(self, spec: ModelSpec) -> PoolBrief:
        return self._pool(spec).brief()

    def _pool(self, spec: ModelSpec) -> ModelPool:
        return self._router.supervisor.pool(spec.alias)


async def _warm(pool: ModelPool) -> None:
    with suppress(RouterError):  # who asks next is told
        await pool.warm()


def _acceleration(pool: PoolBrief) -> Mapping[str, str] | None:
    if pool.ready is None:
        return None
    return {"requested": pool.requested or "auto", "in_effect": pool.ready.accelerator}
