"""The file that holds the hashes of the keys, and what each key may do.

```toml
[keys.laptop]
hash = "sha256:9f86d081884c7d65..."
created = 2026-11-20T10:00:00Z   # optional, and so is all that follows
disabled = true
admin = true                     # the same as the scope "admin": it may do everything
weight = 2.0                     # its share of busy workers, against 1.0 of others
scopes = ["transcribe", "live"]  # without: transcribe, live, jobs
models = ["whisper-1"]           # without: all
requests_per_minute = 60
concurrent_requests = 4
audio_minutes_per_day = 120.0
expires = 2027-01-01             # the beginning of that day (UTC), or a time
```
"""

import fcntl
import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from whisper_router.api.keys import Key, KeyLimits, Scope, check_name
from whisper_router.errors import ConfigurationError

HASH = re.compile(r"sha256:[0-9a-f]{64}")
FILE_MODE = 0o600
HEADER = "# Keys of the API, hashed. Made by `whisper-router keys new`.\n"
MOST_MODELS, MOST_CHARACTERS = 1000, 200
MOST_PER_MINUTE, MOST_AT_A_TIME, MOST_MINUTES = 1_000_000, 100_000, 10_000_000.0

log = structlog.get_logger(__name__)


def as_time(value: object) -> object:
    """Return a day as its beginning; a time without a zone is one of UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), tzinfo=UTC) if isinstance(value, date) else value


Name = Annotated[
    str, Field(min_length=1, max_length=MOST_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Scopes = Annotated[frozenset[Annotated[Scope, Field(strict=False)]], Field(strict=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    hash: str = Field(pattern=rf"^{HASH.pattern}$")
    created: datetime | None = None
    disabled: bool = False
    admin: bool = False
    weight: float = Field(default=1.0, ge=0.01, le=100)
    scopes: Scopes | None = Field(default=None, min_length=1)
    models: list[Name] | None = Field(default=None, min_length=1, max_length=MOST_MODELS)
    requests_per_minute: int | None = Field(default=None, ge=1, le=MOST_PER_MINUTE)
    concurrent_requests: int | None = Field(default=None, ge=1, le=MOST_AT_A_TIME)
    audio_minutes_per_day: float | None = Field(default=None, gt=0, le=MOST_MINUTES)
    expires: Annotated[datetime, BeforeValidator(as_time)] | None = None

    def to_key(self, name: str) -> Key:
        """Return the key of this entry."""
        return Key(
            name=name,
            hash=self.hash,
            created=self.created,
            disabled=self.disabled,
            admin=self.admin,
            weight=self.weight,
            scopes=self.scopes,
            models=None if self.models is None else tuple(self.models),
            limits=KeyLimits(
                requests_per_minute=self.requests_per_minute,
                concurrent_requests=self.concurrent_requests,
                audio_minutes_per_day=self.audio_minutes_per_day,
            ),
            expires=self.expires,
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: dict[str, _Entry] = {}


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
        try:
            check_name(name)
        except ConfigurationError as error:
            raise ConfigurationError(f"key file {path}: keys.{name}: {error}") from error
    return [entry.to_key(name) for name, entry in parsed.keys.items()]


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

    Raises:
        ConfigurationError: as `load_keys`, or the file cannot be written.
    """
    path = path.resolve()
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        keys = {key.name: key for key in load_keys(path)} if path.exists() else {}
        before = dict(keys)
        yield keys
        if keys != before:
            with _writing(path):
                save_keys(path, list(keys.values()))
    finally:
        os.close(directory)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"key file {path} cannot be written: {error.strerror}") from error


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
    lines += _render_rights(key)
    return "\n".join(lines) + "\n"


def _render_rights(key: Key) -> Iterator[str]:
    if key.scopes is not None:
        yield f"scopes = {_listed([scope for scope in Scope if scope in key.scopes])}"
    if key.models is not None:
        yield f"models = {_listed(key.models)}"
    limits = key.limits
    if limits.requests_per_minute is not None:
        yield f"requests_per_minute = {limits.requests_per_minute}"
    if limits.concurrent_requests is not None:
        yield f"concurrent_requests = {limits.concurrent_requests}"
    if limits.audio_minutes_per_day is not None:
        yield f"audio_minutes_per_day = {float(limits.audio_minutes_per_day)}"
    if key.expires is not None:
        yield f"expires = {key.expires.isoformat(timespec='seconds')}"


def _listed(values: Sequence[str]) -> str:
    """Return an array of TOML: JSON's strings are strings of it, too."""
    return json.dumps(list(values), ensure_ascii=False)


def _first(error: ValidationError) -> str:
    details: Mapping[str, object] = {**error.errors(include_url=False, include_input=False)[0]}
    where = details["loc"]
    place = ".".join(map(str, where)) if isinstance(where, tuple) else str(where)
    return f"{place}: {details['msg']}"
