"""Form fields as clients spell them: `name`, `name[]`, `name[0]`, `name[key]`, JSON in a string.

The SDKs send arrays as `name[]` and objects as `name[key]`; curl and the Go and .NET clients send
one JSON string; people write comma lists. Blank values count as absent.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from whisper_router.errors import InvalidParameter

NAME = re.compile(r"([^\[\]]+)(?:\[([^\[\]]*)\])?")
NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
INTEGER = re.compile(r"[+-]?\d{1,9}", re.ASCII)
DURATION = re.compile(r"([+-]?\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)?", re.ASCII)
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
TRUE, FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})

Choice = TypeVar("Choice", bound=StrEnum)


class Fields:
    """All text fields of one form, by name without brackets."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._parts: dict[str, list[tuple[str | None, str]]] = {}
        for name, value in fields:
            if value.strip() and (match := NAME.fullmatch(name.strip())):
                self._parts.setdefault(match[1], []).append((match[2], value))

    def text(self, *names: str) -> str | None:
        """Return the last value of the first of `names` that is there, as it was sent."""
        for name in names:
            for key, value in reversed(self._parts.get(name, [])):
                if key is None:
                    return value
        return None

    def mapping(self, name: str) -> Mapping[str, str]:
        """Return `name[key]` fields by key."""
        parts = self._parts.get(name, [])
        return {key: value.strip() for key, value in parts if key is not None}

    def values(self, name: str) -> Sequence[str]:
        """Return the items of an array, never split at commas."""
        return [value.strip() for _, value in self._items(name) if value.strip()]

    def words(self, name: str) -> Sequence[str]:
        """Return the items of an array of single words, in every spelling."""
        items = (piece for _, value in self._items(name) for piece in value.split(","))
        return [item.strip() for item in items if item.strip()]

    def phrases(self, name: str) -> Sequence[str]:
        """Return the items of an array whose items may hold commas.

        Only the spelling without brackets is split at commas.
        """
        pieces: list[str] = []
        for key, value in self._items(name):
            pieces += value.split(",") if key is None else [value]
        return [piece.strip() for piece in pieces if piece.strip()]

    def _items(self, name: str) -> Iterator[tuple[str | None, str]]:
        for key, value in self._parts.get(name, []):
            if key and not key.isdigit():
                raise InvalidParameter(f"'{name}' is an array, not an object.", param=name)
            if value.lstrip().startswith("[") and (key is None or _is_json_array(value)):
                yield from (("", item) for item in _string_array(name, value))
            else:
                yield key, value


def _is_json_array(text: str) -> bool:
    """Tell an array that was sent as an item from a text such as `[Ann]`."""
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _string_array(name: str, text: str) -> Sequence[str]:
    value = parse_json(name, text)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidParameter(f"'{name}' must be an array of strings.", param=name)
    if any("\ud800" <= letter <= "\udfff" for item in value for letter in item):
        # Only JSON's \u escapes can smuggle in half a surrogate pair, which no UTF-8 can hold.
        raise InvalidParameter(f"'{name}' is not valid Unicode.", param=name)
    return value


def parse_json(name: str, text: str) -> object:
    """Return the value of a JSON text. Raises InvalidParameter."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"'{name}' is not valid JSON.", param=name) from error


def boolean(name: str, text: str | None) -> bool | None:
    """Return what `true`, `1`, `no`, ... mean, in any case; None stays None."""
    if text is None:
        return None
    word = text.strip().lower()
    if word not in TRUE | FALSE:
        raise InvalidParameter(
            f"Invalid value for '{name}': {quoted(text)}. Expected true or false.", param=name
        )
    return word in TRUE


def number(name: str, text: str | None, *, low: float, high: float) -> float | None:
    """Return a decimal number in `[low, high]`; None stays None."""
    if text is None:
        return None
    value = float(text) if NUMBER.fullmatch(text := text.strip()) else None
    if value is None or not low <= value <= high:
        raise InvalidParameter(
            f"Invalid value for '{name}': {quoted(text)}. "
            f"Expected a number from {low:g} to {high:g}.",
            param=name,
        )
    return value


def integer(name: str, text: str | None, *, low: int, high: int) -> int | None:
    """Return a whole number in `[low, high]`; None stays None."""
    if text is None:
        return None
    value = int(text) if INTEGER.fullmatch(text := text.strip()) else None
    if value is None or not low <= value <= high:
        raise InvalidParameter(
            f"Invalid value for '{name}': {quoted(text)}. "
            f"Expected a whole number from {low} to {high}.",
            param=name,
        )
    return value


def duration_s(name: str, text: str | None) -> float | None:
    """Return the seconds in `90`, `5m` or `1.5h`; infinity for a negative one. None stays None."""
    if text is None:
        return None
    match = DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidParameter(
            f"Invalid value for '{name}': {quoted(text)}. "
            "Expected seconds, or a number with ms, s, m or h; negative: for ever.",
            param=name,
        )
    seconds = float(match[1]) * UNITS_S[match[2] or "s"]
    return seconds if seconds >= 0 else math.inf


def choice(param: str, text: str, choices: type[Choice]) -> Choice:
    """Return the member of `choices` with this value."""
    try:
        return choices(text.strip())
    except ValueError as error:
        allowed = ", ".join(f"'{member.value}'" for member in choices)
        raise InvalidParameter(
            f"Invalid value for '{param}': {quoted(text)}. Expected one of {allowed}.", param=param
        ) from error


def quoted(text: str) -> str:
    """Return `text` for use in a message: in quotes, and not longer than a line."""
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"
