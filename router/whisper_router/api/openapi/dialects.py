"""The parts of the document for other servers' dialects. Pure.

Each is one function in a module of its own; it is part of the document where its dialect is served.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.openapi import (
    dialect_insanely,
    dialect_speaches,
    dialect_whisper_asr,
    dialect_whisper_cpp,
    dialect_whisperx,
)
from whisper_router.api.openapi.parts import (
    ALSO_AT,
    DETAILED,
    PLAIN,
    DialectPart,
    Json,
    Paths,
    refusal,
)

Part = Callable[[DialectOptions], DialectPart]
PARTS: Mapping[Dialect, Part] = MappingProxyType(
    {  # in the order of their routes
        Dialect.SPEACHES: dialect_speaches.part,
        Dialect.WHISPER_ASR: dialect_whisper_asr.part,
        Dialect.WHISPER_CPP: dialect_whisper_cpp.part,
        Dialect.INSANELY_FAST_WHISPER: dialect_insanely.part,
        Dialect.WHISPERX: dialect_whisperx.part,
    }
)


def served_parts(
    options: DialectOptions, parts: Mapping[Dialect, Part] = PARTS
) -> list[DialectPart]:
    """Return the parts of the dialects that are served, in the order of their routes."""
    return [part(options) for dialect, part in parts.items() if dialect in options.enabled]


def merged(own: Paths, parts: Sequence[DialectPart]) -> dict[str, dict[str, Json]]:
    """Return all operations; of several for one method of a path, that whose route comes first.

    Dialects' routes come before our own. What loses its path moves to the next one that it has.
    """
    paths: dict[str, dict[str, Json]] = {}
    taken: set[tuple[str, str]] = set()
    for source in [*(part.paths for part in parts), own]:
        for path, operations in source.items():
            for method, operation in operations.items():
                every = [path, *operation.get(ALSO_AT, ())]
                free = [place for place in every if (place, method) not in taken]
                taken.update((place, method) for place in free)
                if free:
                    paths.setdefault(free[0], {})[method] = _moved(operation, free[1:])
    return paths


def detailed(
    paths: Mapping[str, Mapping[str, Json]], where: frozenset[str]
) -> dict[str, dict[str, Json]]:
    """Return the operations; the errors of those at some paths have FastAPI's `detail`, too."""
    return {
        path: {
            method: _detailed(operation) if path in where else operation
            for method, operation in operations.items()
        }
        for path, operations in paths.items()
    }


def _moved(operation: Json, also_at: Sequence[str]) -> Json:
    moved = {key: value for key, value in operation.items() if key != ALSO_AT}
    return moved | ({ALSO_AT: list(also_at)} if also_at else {})


def _detailed(operation: Json) -> Json:
    plain = {refusal(int(status))["$ref"] for status in operation["responses"]}
    changed = {
        status: {"$ref": answer["$ref"].replace(PLAIN, DETAILED)}
        if answer.get("$ref") in plain
        else answer
        for status, answer in operation["responses"].items()
    }
    return operation | {"responses": changed}
