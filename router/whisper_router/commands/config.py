"""`whisper-router config check|show`."""

from collections.abc import Iterator, Mapping
from typing import Any

from whisper_router.aliases import build_aliases
from whisper_router.plugins import load_engines
from whisper_router.settings import Settings
from whisper_router.settings_sources import redacted


def check(settings: Settings) -> int:
    """Check the aliases and engine options as well; the settings themselves are valid by now."""
    build_aliases(settings, load_engines())
    print(f"The configuration is good: {len(settings.models)} aliases are configured.")
    return 0


def show(settings: Settings) -> int:
    """Print what is in effect as TOML, secrets as asterisks."""
    shown = redacted("", settings.model_dump(mode="json", exclude_none=True))
    if isinstance(shown, dict):
        print("\n".join(_lines(shown)))
    return 0


def _lines(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {_toml(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            path = f"{name}.{_key(key)}" if name else _key(key)
            if not name or any(not isinstance(inner, Mapping) for inner in value.values()):
                yield f"\n[{path}]"
            yield from _lines(value, path)


def _key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isalnum() and bare.isascii() else f'"{key}"'


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
