"""API keys: what they are, and what each may do.

A key of ours is 256 random bits, so nobody can search for it, and one round of SHA-256 is enough:
slow or peppered hashes protect what people can guess, which cost time on every request, or a second
secret that has to be kept where the file is. `API_KEY`, which an operator may choose as badly as
they want, is in no file of ours; its hash is made at start and lives in memory only.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from whisper_router.errors import ConfigurationError, IncorrectApiKey

PREFIX = "wr-"
KEY_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PLAIN_NAME = re.compile(r"api_key(_[0-9]+)?")
"""What keys given in plain text are named."""


class Scope(StrEnum):
    """What a key may be allowed to do. `admin` allows everything."""

    TRANSCRIBE = "transcribe"
    LIVE = "live"
    JOBS = "jobs"
    ADMIN = "admin"
    METRICS = "metrics"


USUAL_SCOPES: Final = frozenset({Scope.TRANSCRIBE, Scope.LIVE, Scope.JOBS})
"""What a key may do that does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """How much a key may do; None: as much as it wants. A day is one of UTC."""

    requests_per_minute: int | None = None
    concurrent_requests: int | None = None
    audio_minutes_per_day: float | None = None

    @property
    def audio_seconds_per_day(self) -> float | None:
        """The last one in seconds."""
        minutes = self.audio_minutes_per_day
        return None if minutes is None else minutes * 60.0


NO_LIMITS: Final = KeyLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key by its hash (`sha256:<hex>`). A disabled one is refused like an unknown one.

    `scopes` None: the usual ones. `models`: the only models that it may use, by any of their names;
    None: all. From `expires` on it is refused.
    """

    name: str
    hash: str
    created: datetime | None = None
    disabled: bool = False
    admin: bool = False
    weight: float = 1.0
    scopes: frozenset[Scope] | None = None
    models: Sequence[str] | None = None
    limits: KeyLimits = field(default_factory=KeyLimits)
    expires: datetime | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it may do everything."""
        return self.admin or Scope.ADMIN in (self.scopes or ())

    @property
    def allowed(self) -> Sequence[Scope]:
        """All that it may do, in the order of `Scope`."""
        own = USUAL_SCOPES if self.scopes is None else self.scopes
        return [scope for scope in Scope if self.is_admin or scope in own]

    def has_expired(self, unix_s: float) -> bool:
        """Return whether it is no longer good at a time."""
        return self.expires is not None and self.expires.timestamp() <= unix_s


class KeyRing:
    """The keys that are accepted.

    `required` False means that none was ever configured and everybody may call; a ring whose last
    key was revoked still requires one.
    """

    def __init__(self, keys: Sequence[Key], *, required: bool) -> None:
        self.keys = tuple(keys)
        self.required = required
        self._by_hash = {key.hash: key for key in self.keys if not key.disabled}
        self._by_name: Mapping[str, Key] = {key.name: key for key in reversed(self.keys)}

    def identify(self, presented: str) -> Key | None:
        """Return the key that hashes like `presented`, however many there are.

        What can be learned from how long the search takes is about the hash of what was sent, which
        nobody can choose; the one that is found is compared in constant time all the same.
        """
        digest = hash_key(presented)
        key = self._by_hash.get(digest)
        if key is None or not hmac.compare_digest(digest.encode(), key.hash.encode()):
            return None
        return key

    def with_hash(self, digest: str) -> Key | None:
        """Return the good key that has this hash."""
        return self._by_hash.get(digest)

    def current(self, key: Key, unix_s: float) -> Key:
        """Return a key as it is now.

        Raises:
            IncorrectApiKey: it was revoked, disabled, or has expired.
        """
        found = self.with_hash(key.hash) or self.named(key.name)
        is_same = found is not None and found.hash == key.hash
        return _still_good(found if is_same else None, key.name, unix_s)

    def maker(self, name: str, unix_s: float) -> Key | None:
        """Return the key of this name as it is now: something was made with it.

        None where no key is needed, and for what was made (name empty) while none was.

        Raises:
            IncorrectApiKey: the key was revoked, disabled, or has expired.
        """
        if not self.required or not name:
            return None
        return _still_good(self.named(name), name, unix_s)

    def named(self, name: str) -> Key | None:
        """Return the key of this name, also a disabled one."""
        return self._by_name.get(name)


def _still_good(key: Key | None, name: str, unix_s: float) -> Key:
    if key is None:
        raise IncorrectApiKey(f"The API key '{name}' was revoked.")
    if key.disabled:
        raise IncorrectApiKey(f"The API key '{name}' is disabled.")
    if key.has_expired(unix_s):
        raise IncorrectApiKey(f"The API key '{name}' has expired.")
    return key


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


def check_name(name: str) -> None:
    """Raise ConfigurationError unless `name` can name a key."""
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"a key's name is 1 to 64 letters, digits, '-' and '_'; {name!r} is not"
        )
    if PLAIN_NAME.fullmatch(name):
        raise ConfigurationError(
            f"'{name}' is what a key given as API_KEY is named, and this one would share its usage "
            "and jobs: name it differently"
        )
