"""API keys and the file that holds their hashes.

```toml
[keys.laptop]
hash = "sha256:9f86d081884c7d65..."
created = 2026-11-20T10:00:00Z   # optional
disabled = true                  # optional
admin = true                     # optional: may see and change what is not its own
weight = 2.0                     # optional: its share of busy workers, against 1.0 of others
```
A key of ours is 256 random bits, so nobody can search for it and one round of SHA-256 is enough:
slow hashes protect what people can guess, and would cost time on every request.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whisper_router.errors import ConfigurationError

PREFIX = "wr-"
KEY_BYTES = 32
HASH = re.compile(r"sha256:[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
FILE_MODE = 0o600
HEADER = "# Keys of the API, hashed. Made by `whisper-router keys new`.\n"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key by its hash (`sha256:<hex>`). A disabled one is refused like an unknown one."""

    name: str
    hash: str
    created: datetime | None = None
    disabled: bool = False
    admin: bool = False
    weight: float = 1.0


class KeyRing:
    """The keys that are accepted.

    `required` False means that none was ever configured and everybody may call; a ring whose last
    key was revoked still requires one.
    """

    def __init__(self, keys: Sequence[Key], *, required: bool) -> None:
        self.keys = tuple(keys)
        self.required = required

    def identify(self, presented: str) -> Key | None:
        """Return the key that hashes like `presented`, comparing with all in constant time."""
        digest = hash_key(presented).encode()
        found: Key | None = None
        for key in self.keys:
            if hmac.compare_digest(digest, key.hash.encode()) and not key.disabled:
                found = key
        return found


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hash: str = Field(pattern=rf"^{HASH.pattern}$")
    created: datetime | None = None
    disabled: bool = False
    admin: bool = False
    weight: float = Field(default=1.0, ge=0.01, le=100)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: dict[str, _Entry] = {}


def new_key() -> str:
    """Return a new key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hash_key(key: str) -> str:
    """Return `sha256:<hex>` of a key as a client sends it."""
    return "sha256:" + hashlib.sha256(key.encode("utf-8", errors="surrogateescape")).hexdigest()


def plain_keys(values: Sequence[str]) -> Sequence[Key]:
    """Return keys given in plain text (API_KEY), hashed: `api_key`, `api_key_2`, ..."""
    names = ("api_key", *(f"api_key_{number}" for number in range(2, len(values) + 1)))
    return [
        Key(name=name, hash=hash_key(value), admin=True)
        for name, value in zip(names, values, strict=False)
    ]


def load_keys(path: Path) -> Sequence[Key]:
    """Return the keys in a file. Blocking.

    Raises:
        ConfigurationError: the file is not there, not TOML, or an entry is not as it must be; the
            message names the file and the entry.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        parsed = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ConfigurationError(f"key file {path}: {_first(error)}") from error
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"key file {path}: {error}") from error
    if mode & 0o007:
        log.warning("key_file_open_to_others", path=str(path), mode=f"{mode:04o}")
    for name in parsed.keys:
        check_name(name)
    return [Key(name=name, **dict(entry)) for name, entry in parsed.keys.items()]


def check_name(name: str) -> None:
    """Raise ConfigurationError unless `name` can name a key."""
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"a key's name is 1 to 64 letters, digits, '-' and '_'; {name!r} is not"
        )


def save_keys(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file in one step: a reader sees the old keys or the new ones. Blocking.

    A new file has mode 0600; an existing one keeps its mode and, where allowed, its owner, so that
    a service that runs as somebody else can still read it.
    """
    path = path.resolve()  # a link stays a link
    mode, owner = _mode_and_owner(path)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_render(keys))
            file.flush()
            os.fchmod(file.fileno(), mode)
            if owner is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), *owner)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def editing(path: Path) -> Iterator[dict[str, Key]]:
    """Yield the keys by name to change in place; changes are saved when the block ends. Blocking.

    Two programs that edit at once wait for each other.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        keys = {key.name: key for key in load_keys(path)} if path.exists() else {}
        before = dict(keys)
        yield keys
        if keys != before:
            save_keys(path, list(keys.values()))
    finally:
        os.close(directory)


def _mode_and_owner(path: Path) -> tuple[int, tuple[int, int] | None]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return FILE_MODE, None
    return stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid)


def _render(keys: Sequence[Key]) -> str:
    return HEADER + "".join(_render_key(key) for key in keys)


def _render_key(key: Key) -> str:
    lines = [f"\n[keys.{key.name}]", f'hash = "{key.hash}"']
    if key.created is not None:
        lines.append(f"created = {key.created.isoformat(timespec='seconds')}")
    if key.disabled:
        lines.append("disabled = true")
    if key.admin:
        lines.append("admin = true")
    if key.weight != 1.0:
        lines.append(f"weight = {key.weight}")
    return "\n".join(lines) + "\n"


def _first(error: ValidationError) -> str:
    details: Mapping[str, object] = {**error.errors(include_url=False, include_input=False)[0]}
    where = details["loc"]
    place = ".".join(map(str, where)) if isinstance(where, tuple) else str(where)
    return f"{place}: {details['msg']}"
