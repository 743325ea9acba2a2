"""Finds the installed engines by entry point."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from whisper_router.engine_api import Engine
from whisper_router.errors import ConfigurationError

GROUP = "whisper_router.engines"


def load_engines() -> Mapping[str, Engine]:
    """Return every installed engine by its name.

    Raises:
        ConfigurationError: two plugins claim one name, one cannot be imported, or its class calls
            itself something else than its entry point does.
    """
    engines: dict[str, Engine] = {}
    for entry in entry_points(group=GROUP):
        if entry.name in engines:
            raise ConfigurationError(f"two plugins provide the engine '{entry.name}'")
        try:
            engine: Engine = entry.load()()
        except Exception as error:  # a plugin may fail in any way; say which one it was
            raise ConfigurationError(
                f"engine plugin '{entry.name}' ({entry.value}) cannot be loaded: {error!r}"
            ) from error
        if engine.name != entry.name:
            raise ConfigurationError(
                f"engine plugin '{entry.name}' ({entry.value}) calls itself '{engine.name}'"
            )
        engines[entry.name] = engine
    return engines
