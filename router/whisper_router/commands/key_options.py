"""What the options of `whisper-router keys new|set` change of a key. Pure."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from whisper_router.api.key_file import (
    MOST_AT_A_TIME,
    MOST_MINUTES,
    MOST_PER_MINUTE,
    as_time,
)
from whisper_router.api.keys import Key, KeyLimits, Scope
from whisper_router.errors import ConfigurationError

NONE = "none"
"""Takes a limit, the list of models or the expiry away."""
SPAN = re.compile(r"([1-9][0-9]{0,4})([hdw])")
HOURS = {"h": 1, "d": 24, "w": 168}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOptions:
    """The options as they were typed; None: not given."""

    scopes: str | None = None
    models: str | None = None
    requests_per_minute: str | None = None
    concurrent_requests: str | None = None
    audio_minutes_per_day: str | None = None
    expires: str | None = None
    weight: str | None = None
    admin: bool | None = None
    disabled: bool | None = None

    def apply(self, key: Key, now: datetime) -> Key:
        """Return the key with what the options say.

        Raises:
            ConfigurationError: an option has a value that makes no sense; the message names it.
        """
        limits = KeyLimits(
            requests_per_minute=_given(
                self.requests_per_minute,
                key.limits.requests_per_minute,
                lambda text: _whole("--requests-per-minute", text, MOST_PER_MINUTE),
            ),
            concurrent_requests=_given(
                self.concurrent_requests,
                key.limits.concurrent_requests,
                lambda text: _whole("--concurrent-requests", text, MOST_AT_A_TIME),
            ),
            audio_minutes_per_day=_given(
                self.audio_minutes_per_day,
                key.limits.audio_minutes_per_day,
                lambda text: _number("--audio-minutes-per-day", text, 0.001, MOST_MINUTES),
            ),
        )
        return replace(
            key,
            limits=limits,
            scopes=_given(self.scopes, key.scopes, scopes_of),
            models=_given(self.models, key.models, models_of),
            expires=_given(self.expires, key.expires, lambda text: expiry_of(text, now)),
            weight=key.weight
            if self.weight is None
            else _number("--weight", self.weight, 0.01, 100),
            admin=key.admin if self.admin is None else self.admin,
            disabled=key.disabled if self.disabled is None else self.disabled,
        )

    @property
    def is_empty(self) -> bool:
        """Whether no option was given."""
        return self == KeyOptions()


def scopes_of(text: str) -> frozenset[Scope]:
    """Return the scopes in a comma-separated list. Raises ConfigurationError."""
    names = _words("--scopes", text)
    unknown = [name for name in names if name not in set(Scope)]
    if unknown:
        raise ConfigurationError(
            f"--scopes: there is no scope '{unknown[0]}'; there are {', '.join(Scope)}"
        )
    return frozenset(Scope(name) for name in names)


def models_of(text: str) -> tuple[str, ...]:
    """Return the names in a comma-separated list. Raises ConfigurationError."""
    names = tuple(dict.fromkeys(_words("--models", text)))
    if not all(name.isprintable() for name in names):
        raise ConfigurationError("--models: a name holds what cannot be printed")
    return names


def expiry_of(text: str, now: datetime) -> datetime:
    """Return a time: a day (its beginning, UTC), a time, or a span such as `30d` from now.

    Raises:
        ConfigurationError: it is none of these, or over already.
    """
    if span := SPAN.fullmatch(text.strip().lower()):
        return now.replace(microsecond=0) + timedelta(hours=int(span[1]) * HOURS[span[2]])
    try:
        found = as_time(datetime.fromisoformat(text.strip()))
    except ValueError as error:
        raise ConfigurationError(
            f"--expires: {text!r} is no day (2027-01-01), time (2027-01-01T12:00Z) "
            "or span (30d, 12h, 8w)"
        ) from error
    assert isinstance(found, datetime)  # noqa: S101 - for type checkers
    if found <= now:
        raise ConfigurationError(f"--expires: {text} is over already")
    return found.astimezone(UTC).replace(microsecond=0)


def _given(text: str | None, usual: Value | None, parse: Callable[[str], Value]) -> Value | None:
    if text is None:
        return usual
    return None if text.strip().lower() == NONE else parse(text)


def _words(option: str, text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise ConfigurationError(f"{option}: name at least one, or '{NONE}'")
    return words


def _whole(option: str, text: str, most: int) -> int:
    if not re.fullmatch("[0-9]{1,9}", text.strip()) or not 1 <= int(text) <= most:
        raise ConfigurationError(
            f"{option}: {text!r} is not a whole number from 1 to {most}, or '{NONE}'"
        )
    return int(text)


def _number(option: str, text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ConfigurationError(f"{option}: {text!r} is not a number from {least:g} to {most:g}")
    return value
