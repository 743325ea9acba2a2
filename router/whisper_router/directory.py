"""The models as clients see them: names, states, and whether requests can be served."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress

from whisper_router.api.deps import ModelEntry, Readiness
from whisper_router.api.wyoming.info import SpeechModel
from whisper_router.app import Router
from whisper_router.errors import RouterError
from whisper_router.languages import LANGUAGES
from whisper_router.models.catalog import Catalog
from whisper_router.models.download import DownloadProgress
from whisper_router.models.source import HubFile, LocalFile, ModelSource, ModelSpec
from whisper_router.supervisor.breaker import BreakerState
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

    def check(self, name: str) -> None:
        """Raise ModelNotFound if there is no model `name`."""
        self._catalog.resolve(name)

    def failing(self) -> Sequence[str]:
        """Return the aliases whose engines are left alone because they do not start."""
        pools = self._router.supervisor.pools()
        return [pool.alias for pool in pools if pool.brief().breaker is not BreakerState.CLOSED]

    @contextmanager
    def in_use(self, name: str, keep_alive_s: float | None) -> Iterator[None]:
        """Note that a request uses a model; the last one decides how long its engine stays."""
        pool = self._router.supervisor.pool(self._catalog.resolve(name).alias)
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
            self._try_again(self._router.supervisor.pool(spec.alias))
        return Readiness(ok=not reasons, reasons=reasons)

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
            extra={key: value for key, value in extra if value is not None},
        )

    def _speech_model(self, spec: ModelSpec, *, is_here: bool) -> SpeechModel:
        known = self._router.supervisor.pool(spec.alias).capabilities.languages
        source = spec.source
        return SpeechModel(
            name=spec.alias,
            languages=[code for code in LANGUAGES if known is None or code in known],
            is_installed=is_here or self._can_come(source),
            description=spec.description,
            maker=source.repo if isinstance(source, HubFile) else "",
            url=f"https://huggingface.co/{source.repo}" if isinstance(source, HubFile) else "",
        )

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
        return self._router.supervisor.pool(spec.alias).brief()


async def _warm(pool: ModelPool) -> None:
    with suppress(RouterError):  # who asks next is told
        await pool.warm()


def _acceleration(pool: PoolBrief) -> Mapping[str, str] | None:
    if pool.ready is None:
        return None
    return {"requested": pool.requested or "auto", "in_effect": pool.ready.accelerator}
