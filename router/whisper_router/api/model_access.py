"""The models that a key may use: all, or those that it names."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from aiohttp import web

from whisper_router.api.access import check_scope
from whisper_router.api.deps import DEPS
from whisper_router.api.exchange import KEY, MODEL
from whisper_router.api.keys import Key, Scope
from whisper_router.api.services import ModelDirectory, ModelEntry
from whisper_router.errors import ModelNotAllowed, ModelNotFound
from whisper_router.models.download import OnProgress


def models_of(request: web.Request) -> ModelDirectory:
    """Return the models as the request's key may see and use them."""
    models, key = request.app[DEPS].models, request.get(KEY)
    return models if key is None or key.models is None else AllowedModels(models, key, key.models)


def check_model(request: web.Request, name: str) -> None:
    """Refuse a name that the request may not use, and note it for the log otherwise.

    Raises:
        ModelNotFound: there is no such model.
        ModelNotAllowed: there is, but not for this key.
    """
    models_of(request).check(name)
    request[MODEL] = name


def check_rights(key: Key, scope: Scope, models: ModelDirectory, name: str) -> None:
    """Refuse what a key may not do, or not with this model: it may have changed since it began.

    Raises:
        InsufficientScope: the key lacks the scope.
        ModelNotFound: there is no such model, of a key that may use only some.
        ModelNotAllowed: the key may not use it.
    """
    check_scope(key, scope)
    if key.models is not None:
        AllowedModels(models, key, key.models).check(name)


class AllowedModels:
    """A directory of which only some models may be used, by whichever of their names.

    `whisper-1` and the alias that it stands for are one model: who names one of them in a key has
    allowed the other. A name in a key that no model has any more allows nothing.
    """

    def __init__(self, models: ModelDirectory, key: Key, names: Sequence[str]) -> None:
        self._models, self._key, self._names = models, key, names

    def alias(self, name: str) -> str:
        """Return the model's own name. Raises ModelNotFound."""
        return self._models.alias(name)

    def check(self, name: str) -> None:
        """Raise ModelNotFound, or ModelNotAllowed for a model that this key may not use."""
        self._models.check(name)
        if self._models.alias(name) not in self._allowed():
            names = ", ".join(f"'{name}'" for name in self._names)
            raise ModelNotAllowed(
                f"The key '{self._key.name}' may not use the model '{name[:200]}', only {names}."
            )

    def failing(self) -> Sequence[str]:
        """Return the models whose engines are left alone because they do not start."""
        return self._models.failing()

    def in_use(self, name: str, keep_alive_s: float | None) -> AbstractContextManager[None]:
        """Note that a request uses the model until the block ends."""
        return self._models.in_use(name, keep_alive_s)

    async def models(self) -> Sequence[ModelEntry]:
        """Return what to list."""
        return self._only(await self._models.models())

    async def model(self, name: str) -> ModelEntry:
        """Return the entry for a name. Raises as `check`."""
        self.check(name)
        return await self._models.model(name)

    async def catalogue(self) -> Sequence[ModelEntry]:
        """Return every model that requests may name."""
        return self._only(await self._models.catalogue())

    def loaded(self) -> Sequence[str]:
        """Return the models that an engine serves now."""
        allowed = self._allowed()
        return [name for name in self._models.loaded() if self._is_in(allowed, name)]

    async def load(self, name: str) -> bool:
        """Return once an engine serves the model; False: one did before. Raises RouterError."""
        self.check(name)
        return await self._models.load(name)

    async def unload(self, name: str) -> bool:
        """Stop the model's engine; False: there was none. Raises RouterError."""
        self.check(name)
        return await self._models.unload(name)

    async def download(self, name: str) -> bool:
        """Fetch the model's file; False: it was here. Raises RouterError."""
        self.check(name)
        return await self._models.download(name)

    async def pull(self, name: str, on_progress: OnProgress | None = None) -> bool:
        """Fetch the model's file, and tell how far it is. Raises RouterError."""
        self.check(name)
        return await self._models.pull(name, on_progress)

    async def remove(self, name: str) -> None:
        """Unload a model and delete its file. Raises RouterError."""
        self.check(name)
        await self._models.remove(name)

    def _only(self, entries: Sequence[ModelEntry]) -> Sequence[ModelEntry]:
        allowed = self._allowed()
        return [entry for entry in entries if self._is_in(allowed, entry.id)]

    def _is_in(self, allowed: frozenset[str], name: str) -> bool:
        try:
            return self._models.alias(name) in allowed
        except ModelNotFound:
            return False

    def _allowed(self) -> frozenset[str]:
        return frozenset(filter(None, map(self._known_alias, self._names)))

    def _known_alias(self, name: str) -> str | None:
        try:
            return self._models.alias(name)
        except ModelNotFound:
            return None
