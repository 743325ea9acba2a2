"""Runs `whisper-router models ...` with the store and the catalogue of the settings."""

from collections.abc import Sequence

from rich.console import Console

from whisper_router.aliases import build_aliases
from whisper_router.app import build_store
from whisper_router.commands import models
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.plugins import load_engines
from whisper_router.settings import Settings
from whisper_router.tasks import Tasks


async def run(settings: Settings, action: str, names: Sequence[str]) -> int:
    """Run one of `list`, `pull` and `rm`. Returns the exit code."""
    configure_logging(level="error", style=LogFormat.TEXT)
    catalog = build_aliases(settings, load_engines()).catalog
    terminal = models.Terminal(out=Console(), err=Console(stderr=True))
    tasks = Tasks()
    try:
        store = build_store(settings, tasks)
        if action == "list":
            return models.list_models(catalog=catalog, store=store, terminal=terminal)
        command = models.pull if action == "pull" else models.rm
        return await command(names, catalog=catalog, store=store, terminal=terminal)
    finally:
        await tasks.close()
