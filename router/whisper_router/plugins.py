"""Finds the installed engines, and the plugins of the other stages, by entry point."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from whisper_router.engine_api import Engine
from whisper_router.errors import ConfigurationError
from whisper_router.stage_api import Alignment, Diarization

GROUP = "whisper_router.engines"
ALIGNMENT_GROUP = "whisper_router.alignment"
DIARIZATION_GROUP = "whisper_router.diarization"


def load_engines() -> Mapping[str, Engine]:
    """Return every installed engine by its name.

    Raises:
        ConfigurationError: two plugins claim one name, one cannot be imported, or its class calls
            itself something else than its entry point does.
    """
    return _load(GROUP, "engine")


def load_alignments() -> Mapping[str, Alignment]:
    """Return every installed plugin that places words in time. Raises as `load_engines`."""
    return _load(ALIGNMENT_GROUP, "alignment")


def load_diarizations() -> Mapping[str, Diarization]:
    """Return every installed plugin that tells speakers apart. Raises as `load_engines`."""
    return _load(DIARIZATION_GROUP, "diarization")


def _load(group: str, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in entry_points(group=group):
        if entry.name in found:
            raise ConfigurationError(f"two plugins provide the {kind} '{entry.name}'")
        try:
            plugin = entry.load()()
        except Exception as error:  # a plugin may fail in any way; say which one it was
            raise ConfigurationError(
                f"{kind} plugin '{entry.name}' ({entry.value}) cannot be loaded: {error!r}"
            ) from error
        if plugin.name != entry.name:
            raise ConfigurationError(
                f"{kind} plugin '{entry.name}' ({entry.value}) calls itself '{plugin.name}'"
            )
        found[entry.name] = plugin
    return found
