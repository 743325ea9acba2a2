"""`whisper-router keys new|list|set|revoke`."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from whisper_router.api.key_file import editing, load_keys
from whisper_router.api.keys import Key, check_name, hash_key, new_key
from whisper_router.commands.key_options import KeyOptions
from whisper_router.errors import ConfigurationError

COLUMNS = ("NAME", "STATE", "SCOPES", "MODELS", "REQ/MIN", "AT A TIME", "AUDIO MIN/DAY", "EXPIRES")
NO_OPTIONS = KeyOptions()


def new(path: Path, name: str, options: KeyOptions = NO_OPTIONS) -> int:
    """Make a key and print it, this once: the file holds only its hash.

    Raises:
        ConfigurationError: the name is taken or unfit, an option makes no sense, or the file cannot
            be used.
        OSError: it could not be printed, and there is no such key.
    """
    check_name(name)
    secret, now = new_key(), datetime.now(UTC)
    key = options.apply(Key(name=name, hash=hash_key(secret), created=now), now)
    with editing(path) as keys:
        if name in keys:
            raise ConfigurationError(f"there is already a key named '{name}' in {path}")
        keys[name] = key
    try:
        print(secret, flush=True)
    except OSError:
        with editing(path) as keys:  # nobody will ever know it
            keys.pop(name, None)
        raise
    print(f"This is the key '{name}'. It is not shown again.", file=sys.stderr)
    return 0


def change(path: Path, name: str, options: KeyOptions) -> int:
    """Change what a key may do. A server that runs notices within a second.

    Raises:
        ConfigurationError: as `new`; there is no such key, or nothing to change.
    """
    if options.is_empty:
        raise ConfigurationError("say what to change: see whisper-router keys set --help")
    with editing(path) as keys:
        keys[name] = options.apply(_named(keys, name, path), datetime.now(UTC))
        changed = keys[name]
    print(_table([changed], datetime.now(UTC)))
    return 0


def list_keys(path: Path, *, as_json: bool = False) -> int:
    """Print every key with what it may do, as a table or as JSON; never its hash.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    keys, now = load_keys(path), datetime.now(UTC)
    if as_json:
        print(json.dumps([_shown(key, now) for key in keys], indent=2, ensure_ascii=False))
    elif keys:
        print(_table(keys, now))
    return 0


def revoke(path: Path, name: str) -> int:
    """Delete a key. A server that runs notices within a second.

    Raises:
        ConfigurationError: there is no such key, or the file cannot be used.
    """
    with editing(path) as keys:
        del keys[_named(keys, name, path).name]
        left = len(keys)
    if left == 0:
        print("The file holds no keys now: the API answers nobody.", file=sys.stderr)
    return 0


def _named(keys: dict[str, Key], name: str, path: Path) -> Key:
    if name not in keys:
        raise ConfigurationError(f"there is no key named '{name}' in {path}")
    return keys[name]


def _state(key: Key, now: datetime) -> str:
    if key.disabled:
        return "disabled"
    return "expired" if key.has_expired(now.timestamp()) else "active"


def _shown(key: Key, now: datetime) -> dict[str, object]:
    limits = key.limits
    return {
        "name": key.name,
        "state": _state(key, now),
        "created": None if key.created is None else key.created.isoformat(timespec="seconds"),
        "scopes": list(key.allowed),
        "admin": key.is_admin,
        "models": None if key.models is None else list(key.models),
        "requests_per_minute": limits.requests_per_minute,
        "concurrent_requests": limits.concurrent_requests,
        "audio_minutes_per_day": limits.audio_minutes_per_day,
        "expires": None if key.expires is None else key.expires.isoformat(timespec="seconds"),
        "weight": key.weight,
    }


def _table(keys: Iterable[Key], now: datetime) -> str:
    rows = [COLUMNS, *(_row(key, now) for key in keys)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _row(key: Key, now: datetime) -> Sequence[str]:
    limits, expires = key.limits, key.expires
    return (
        key.name,
        _state(key, now),
        "admin (all)" if key.is_admin else ",".join(key.allowed),
        "all" if key.models is None else ",".join(key.models),
        _or_dash(limits.requests_per_minute),
        _or_dash(limits.concurrent_requests),
        _or_dash(limits.audio_minutes_per_day),
        "never" if expires is None else expires.isoformat(sep=" ", timespec="minutes"),
    )


def _or_dash(limit: float | None) -> str:
    return "-" if limit is None else f"{limit:g}"
