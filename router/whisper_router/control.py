"""What administrators ask for, answered from the supervisor, the catalogue and the settings."""

from collections.abc import Mapping, Sequence

from whisper_router.app import Router
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolStatus


class Control:
    """The `Processes` of the API."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def statuses(self) -> Sequence[PoolStatus]:
        """Return those of aliases that are configured or were used, the default one first."""
        catalog = self._router.aliases.catalog
        default = catalog.default.alias
        known = {default, *self._router.settings.models}
        statuses = await self._router.supervisor.statuses()
        shown = [status for status in statuses if status.alias in known or status.starts]
        return sorted(shown, key=lambda status: (status.alias != default, status.alias))

    def pool(self, name: str) -> ModelPool:
        """Return the pool behind a name that requests may use.

        Raises:
            ModelNotFound: there is none.
        """
        return self._router.supervisor.pool(self._router.aliases.catalog.resolve(name).alias)

    def config(self) -> Mapping[str, object]:
        """Return every setting; a secret that is set is shown as asterisks."""
        return self._router.settings.model_dump(mode="json")
