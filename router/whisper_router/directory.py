"""The models as clients see them: names, states, and whether requests can be served."""

import time
from collections.abc import Iterator, Mapping, Sequence

from whisper_router.api.deps import ModelEntry, Readiness
from whisper_router.app import Router
from whisper_router.models.source import LocalFile, ModelSource, ModelSpec
from whisper_router.supervisor.status import PoolBrief

LOW_SPOOL_BYTES = 64 << 20


class Directory:
    """Answers `/v1/models` and `/ready` from the catalogue, the store and the supervisor."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._catalog = router.aliases.catalog
        self._created = int(time.time())

    def models(self) -> Sequence[ModelEntry]:
        """Return what `/v1/models` lists: presets only once their files are here."""
        listed = self._catalog.list(installed=self._is_here)
        return [self._entry(item.id, item.spec) for item in listed]

    def model(self, name: str) -> ModelEntry:
        """Return the entry for any name that requests may use.

        Raises:
            ModelNotFound: there is none.
        """
        return self._entry(name, self._catalog.resolve(name))

    def ready(self) -> Readiness:
        """Return whether the default model could serve now, and what stands in the way."""
        reasons = list(self._obstacles())
        return Readiness(ok=not reasons, reasons=reasons)

    def _obstacles(self) -> Iterator[str]:
        spec = self._catalog.default
        store = self._router.settings.store
        if not self._is_here(spec.source):
            if isinstance(spec.source, LocalFile) or store.offline or not store.auto_download:
                yield (
                    f"The file of the default model '{spec.alias}' is not here: "
                    f"{self._router.store.path(spec.source)}."
                )
        elif (error := self._brief(spec).start_error) is not None:
            yield f"The default model '{spec.alias}' does not start: {error}"
        if self._router.spool.free_bytes() < LOW_SPOOL_BYTES:
            yield "The disk of the spool directory is full."

    def _entry(self, name: str, spec: ModelSpec) -> ModelEntry:
        return ModelEntry(
            id=name,
            created=self._created,
            owned_by=spec.origin.value,
            extra={key: value for key, value in self._extra(name, spec) if value is not None},
        )

    def _extra(self, name: str, spec: ModelSpec) -> Iterator[tuple[str, object]]:
        pool = self._brief(spec)
        yield "model", spec.alias if spec.alias != name else None
        yield "engine", spec.engine
        yield "state", pool.state.value if self._is_here(spec.source) else self._absence(spec)
        yield "acceleration", _acceleration(pool)
        yield "last_error", pool.last_error

    def _absence(self, spec: ModelSpec) -> str:
        source = spec.source
        if isinstance(source, LocalFile) or self._router.store.progress(source) is None:
            return "absent"
        return "downloading"

    def _brief(self, spec: ModelSpec) -> PoolBrief:
        return self._router.supervisor.pool(spec.alias).brief()

    def _is_here(self, source: ModelSource) -> bool:
        return self._router.store.present(source) is not None


def _acceleration(pool: PoolBrief) -> Mapping[str, str] | None:
    if pool.ready is None:
        return None
    return {"requested": pool.requested or "auto", "in_effect": pool.ready.accelerator}
