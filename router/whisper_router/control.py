"""What administrators ask for, answered from the supervisor, the catalogue and the settings."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict

from whisper_router.api.services import ModelFile
from whisper_router.app import Router
from whisper_router.errors import ConfigurationError, InvalidConfiguration
from whisper_router.reload import Reloader
from whisper_router.settings_sources import redacted
from whisper_router.supervisor.budgets import MemoryUse
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolBrief, PoolStatus


class Control:
    """The `Processes` of the API."""

    def __init__(self, router: Router, reloader: Reloader | None = None) -> None:
        """Without a `reloader` there is nothing that could be read again."""
        self._router, self._reloader = router, reloader

    async def statuses(self) -> Sequence[PoolStatus]:
        """Return those of aliases that are configured or were used, the default one first."""
        default, known = self._router.aliases.catalog.default.alias, self._known()
        statuses = await self._router.supervisor.statuses()
        shown = [status for status in statuses if status.alias in known or status.starts]
        return sorted(shown, key=lambda status: (status.alias != default, status.alias))

    def briefs(self) -> Mapping[str, PoolBrief]:
        """Return what is known of aliases that are configured or were used, without measuring."""
        known = self._known()
        briefs = {pool.alias: pool.brief() for pool in self._router.supervisor.pools()}
        return {alias: brief for alias, brief in briefs.items() if alias in known or brief.starts}

    def _known(self) -> Set[str]:
        """Return the aliases that somebody has asked for in the configuration."""
        return {self._router.aliases.catalog.default.alias, *self._router.settings.models}

    def pool(self, name: str) -> ModelPool:
        """Return the pool behind a name that requests may use.

        Raises:
            ModelNotFound: there is none.
        """
        return self._router.supervisor.pool(self._router.aliases.catalog.resolve(name).alias)

    async def files(self, aliases: Sequence[str]) -> Mapping[str, ModelFile]:
        """Return whether the files of these aliases are here, or how far they are."""
        catalog, store = self._router.aliases.catalog, self._router.store
        sources = {alias: catalog.resolve(alias).source for alias in aliases}
        present = await asyncio.to_thread(
            lambda: {alias for alias, source in sources.items() if store.present(source)}
        )
        return {
            alias: ModelFile(is_present=alias in present, download=store.progress(source))
            for alias, source in sources.items()
        }

    def memory(self) -> MemoryUse:
        """Return what the processes take together, of which budget."""
        return self._router.supervisor.memory.use()

    def config(self) -> Mapping[str, object]:
        """Return every setting as JSON can hold it; secrets are shown as asterisks."""
        shown = redacted("", self._router.settings.model_dump(mode="json"))
        return shown if isinstance(shown, dict) else {}

    async def reload(self) -> Mapping[str, Sequence[str]]:
        """Read the configuration again; return what has changed.

        Raises:
            InvalidConfiguration: it is wrong, and nothing has changed.
        """
        if self._reloader is None:
            raise InvalidConfiguration("This server was started without a configuration to read.")
        try:
            return asdict(await self._reloader.reload())
        except ConfigurationError as error:
            raise InvalidConfiguration(str(error)) from error
