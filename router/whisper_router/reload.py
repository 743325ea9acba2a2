"""A changed configuration file taken up without a restart, as far as that goes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from whisper_router.aliases import build_aliases
from whisper_router.app import Router, gpu_budget, memory_budget, pool_specs, preload
from whisper_router.errors import ConfigurationError
from whisper_router.settings import Settings

RELOADABLE: Final = frozenset({"default_model", "models", "supervision", "devices"})
"""What can change under running requests. The rest is built into what serves them."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What a reload has done: aliases by name, and sections that wait for a restart.

    `warnings` are of other files that are wrong now, so that what they held before goes on.
    """

    added: Sequence[str]
    removed: Sequence[str]
    changed: Sequence[str]
    needs_restart: Sequence[str]
    warnings: Sequence[str] = ()


class Reloader:
    """Reads the configuration again; one reload at a time."""

    def __init__(
        self,
        router: Router,
        load: Callable[[], Settings],
        looks: Sequence[Callable[[], str | None]] = (),
    ) -> None:
        """`load` reads and checks the settings as at the start, or raises ConfigurationError.

        `looks` look at other files, and return what is wrong with them. All of them may block.
        """
        self._router, self._load, self._looks = router, load, looks
        self._lock = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Take up what has changed. Engines of aliases that have not go on as they are.

        A request that runs on a changed alias ends as it began; those that come get the new one.

        Raises:
            ConfigurationError: the configuration is wrong: no alias has changed.
        """
        async with self._lock:
            try:
                wrong = [await asyncio.to_thread(look) for look in self._looks]
                found = await asyncio.to_thread(self._load)
                done = await self._take_up(found)
            except ConfigurationError as error:
                log.error("reload_refused", reason=str(error))  # noqa: TRY400 - no bug of ours
                raise
        result = replace(done, warnings=[reason for reason in wrong if reason])
        for reason in result.warnings:
            log.error("reload_incomplete", reason=reason)
        log.info(
            "reloaded",
            added=result.added,
            removed=result.removed,
            changed=result.changed,
            needs_restart=result.needs_restart,
        )
        return result

    async def _take_up(self, found: Settings) -> Reloaded:
        router, old = self._router, self._router.settings
        fields = {name: getattr(found, name) for name in type(found).model_fields}
        kept = {name for name in fields.keys() - RELOADABLE if fields[name] != getattr(old, name)}
        settings = old.model_copy(update={name: fields[name] for name in RELOADABLE})
        aliases = build_aliases(settings, router.aliases.engines)
        specs = list(pool_specs(settings, aliases, router.store))
        budget_bytes = await asyncio.to_thread(memory_budget, settings)
        # All at once, so that no request meets one half of it.
        router.current.settings, router.current.aliases = settings, aliases
        changes = router.supervisor.replace(specs)
        router.supervisor.memory.change(
            budget_bytes=budget_bytes,
            gpu_bytes=gpu_budget(settings),
            min_residency_s=settings.devices.min_residency_s,
        )
        fresh = {*changes.added, *changes.changed}
        preload(router, [alias for alias in settings.models if alias in fresh])
        return Reloaded(
            added=changes.added,
            removed=changes.removed,
            changed=changes.changed,
            needs_restart=sorted(kept),
        )
