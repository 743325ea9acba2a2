"""The parts of the document for other servers' dialects. Pure.

Each is one function in a module of its own; it is part of the document where its dialect is served.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.openapi.parts import Json, Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectPart:
    """What a dialect adds. Its operations take the place of our own at the same path.

    `tag` tells people what it is; `schemas` have names that begin with the dialect's.
    """

    tag: str
    description: str
    paths: Paths
    schemas: Json = field(default_factory=dict)


Part = Callable[[DialectOptions], DialectPart]
PARTS: Mapping[Dialect, Part] = MappingProxyType({})


def served_parts(
    options: DialectOptions, parts: Mapping[Dialect, Part] = PARTS
) -> list[DialectPart]:
    """Return the parts of the dialects that are served, in the order of their routes."""
    return [part(options) for dialect, part in parts.items() if dialect in options.enabled]


def merged(own: Paths, parts: list[DialectPart]) -> dict[str, dict[str, Json]]:
    """Return all operations; of several for one method of a path, that whose route comes first.

    Dialects' routes come before our own.
    """
    paths: dict[str, dict[str, Json]] = {}
    for source in [*(part.paths for part in parts), own]:
        for path, operations in source.items():
            here = paths.setdefault(path, {})
            here.update({name: item for name, item in operations.items() if name not in here})
    return paths
