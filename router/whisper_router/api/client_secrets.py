"""Secrets that a page or an app may hold instead of a key: for one use, and for a short time."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from whisper_router.api.keys import Key
from whisper_router.errors import QueueFull

PREFIX = "ek_"
SECRET_BYTES = 32
MAX_SECRETS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSecret:
    """A secret, made with the key `owner`. `session` is what its sessions begin with."""

    value: str
    expires_at: int  # Unix time
    owner: Key | None
    session: Any
    is_beta: bool = False


class ClientSecrets:
    """Those that are good. They are kept in memory: a restart ends them all."""

    def __init__(self, *, most: int = MAX_SECRETS) -> None:
        self._most = most
        self._secrets: dict[str, ClientSecret] = {}

    def make(
        self, *, seconds: int, owner: Key | None, session: object, is_beta: bool = False
    ) -> ClientSecret:
        """Return a new secret that is good for so long.

        Raises:
            QueueFull: there are too many by now.
        """
        now_s = time.time()
        self._secrets = {
            value: secret for value, secret in self._secrets.items() if secret.expires_at > now_s
        }
        if len(self._secrets) >= self._most:
            raise QueueFull(f"There are {self._most} client secrets already.")
        secret = ClientSecret(
            value=PREFIX + secrets.token_urlsafe(SECRET_BYTES),
            expires_at=int(now_s) + seconds,
            owner=owner,
            session=session,
            is_beta=is_beta,
        )
        self._secrets[secret.value] = secret
        return secret

    def find(self, value: str) -> ClientSecret | None:
        """Return the secret, unless there is none or its time is over.

        It is found by its hash table: 256 random bits are not guessed by timing.
        """
        secret = self._secrets.get(value)
        if secret is None or secret.expires_at <= time.time():
            self._secrets.pop(value, None)
            return None
        return secret
