"""`whisper-router keys new|list|revoke`."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from whisper_router.api.keys import Key, check_name, editing, hash_key, load_keys, new_key
from whisper_router.errors import ConfigurationError


def new(path: Path, name: str, *, admin: bool = False) -> int:
    """Make a key and print it, this once: the file holds only its hash.

    Raises:
        ConfigurationError: the name is taken or unfit, or the file cannot be used.
    """
    check_name(name)
    key = new_key()
    with editing(path) as keys:
        if name in keys:
            raise ConfigurationError(f"there is already a key named '{name}' in {path}")
        keys[name] = Key(name=name, hash=hash_key(key), created=datetime.now(UTC), admin=admin)
    print(key)
    print(f"This is the key '{name}'. It is not shown again.", file=sys.stderr)
    return 0


def list_keys(path: Path) -> int:
    """Print the name of every key, when it was made, and whether it is disabled.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    for key in load_keys(path):
        made = "-" if key.created is None else key.created.isoformat(sep=" ", timespec="seconds")
        state = "disabled" if key.disabled else "active"
        print("\t".join((key.name, made, f"{state}, admin" if key.admin else state)))
    return 0


def revoke(path: Path, name: str) -> int:
    """Delete a key. A server that runs notices within a second.

    Raises:
        ConfigurationError: there is no such key, or the file cannot be used.
    """
    with editing(path) as keys:
        if keys.pop(name, None) is None:
            raise ConfigurationError(f"there is no key named '{name}' in {path}")
        left = len(keys)
    if left == 0:
        print("The file holds no keys now: the API answers nobody.", file=sys.stderr)
    return 0
