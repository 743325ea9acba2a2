"""Secrets that a page or an app may hold instead of a key: for one use, and for a short time."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from whisper_router.api.keys import Key

PREFIX = "ek_"
SECRET_BYTES = 32
MOST_OF_A_KEY = 500
SWEEP_S = 60.0
"""How often those are looked for whose time is over: until then they only take memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A secret, made with the key `owner`. `session` is what its sessions begin with."""

    value: str
    expires_at: int  # Unix time
    owner: Key | None
    session: Any
    is_beta: bool = False

    @property
    def owner_hash(self) -> str:
        """The hash of the owner; empty where nobody needs a key."""
        return "" if self.owner is None else self.owner.hash


class ClientSecrets:
    """Those that are good. They are kept in memory: a restart ends them all.

    Each key has so many of its own, so that none takes the room of others; who makes more loses
    the oldest.
    """

    def __init__(self, *, most: int = MOST_OF_A_KEY) -> None:
        self._most = most
        self._secrets: dict[str, ClientSecret] = {}
        self._of_owner: dict[str, dict[str, None]] = {}  # values, the oldest first
        self._next_sweep_s = time.monotonic() + SWEEP_S

    def __len__(self) -> int:
        """Return how many are in memory."""
        return len(self._secrets)

    def make(
        self, *, seconds: int, owner: Key | None, session: object, is_beta: bool = False
    ) -> ClientSecret:
        """Return a new secret that is good for so long."""
        if time.monotonic() >= self._next_sweep_s:
            self.sweep()
        secret = ClientSecret(
            value=PREFIX + secrets.token_urlsafe(SECRET_BYTES),
            expires_at=int(time.time()) + seconds,
            owner=owner,
            session=session,
            is_beta=is_beta,
        )
        own = self._of_owner.get(secret.owner_hash, {})
        if len(own) >= self._most:
            self._forget(self._secrets[next(iter(own))])
        self._secrets[secret.value] = secret
        self._of_owner.setdefault(secret.owner_hash, {})[secret.value] = None
        return secret

    def find(self, value: str) -> ClientSecret | None:
        """Return the secret, unless there is none or its time is over.

        It is found by its hash table: 256 random bits are not guessed by timing.
        """
        secret = self._secrets.get(value)
        if secret is not None and secret.expires_at <= time.time():
            self._forget(secret)
            return None
        return secret

    def sweep(self) -> None:
        """Forget those whose time is over."""
        self._next_sweep_s = time.monotonic() + SWEEP_S
        now_s = time.time()
        for secret in [one for one in self._secrets.values() if one.expires_at <= now_s]:
            self._forget(secret)

    def _forget(self, secret: ClientSecret) -> None:
        del self._secrets[secret.value]
        own = self._of_owner[secret.owner_hash]
        del own[secret.value]
        if not own:
            del self._of_owner[secret.owner_hash]
