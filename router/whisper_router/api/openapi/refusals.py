"""Error answers: one per status, with the codes that the program's own errors have. Pure."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from whisper_router.api.openapi.parts import DETAILED, JSON_TYPE, Json, answer, header_ref, ref
from whisper_router.errors import RouterError

WORDS: Mapping[int, str] = MappingProxyType(
    {
        400: "Something in the request is wrong; `param` names the field if it is one.",
        401: "There is no key, or not one of ours.",
        403: "This is not allowed with this key, to pages of other sites, or to anybody.",
        404: "What the address or the request names does not exist.",
        405: "The path has other methods, which `Allow` names.",
        408: "The client stopped sending, or the host of a given address took too long.",
        409: "Not as things stand: a job has no result, an id is taken, a model is in use.",
        410: "An administrator, or whoever sent it, has cancelled the request.",
        413: "The body, or what is at a given address, is over the limit.",
        414: "The address is too long; the connection is closed.",
        417: "The header `Expect` asks for something other than `100-continue`.",
        422: "This audio makes engines crash, or an `Idempotency-Key` came with another request; "
        "in whisperX's API also what is 400 elsewhere.",
        429: "Too much waits, or the key has reached a limit; come back after `Retry-After`.",
        431: "The headers are too many or too large; the connection is closed.",
        500: "A bug; the log has the details under the request's id.",
        501: "Another server does this; this one does not.",
        502: "The engine, or the server that does this model's work, failed.",
        503: "It cannot be served now; come back after `Retry-After` if there is one.",
        504: "The engine took longer than its time budget, or no worker was free in time.",
        508: "The request has come through this server before.",
    }
)
RETRIED = frozenset({429, 503})


def responses() -> Json:
    """Return the answers by the names that `parts.refusal` refers to."""
    return {f"Error{status}": _response(status, words) for status, words in WORDS.items()}


def detailed_responses(paths: Mapping[str, Mapping[str, Json]]) -> Json:
    """Return those answers with FastAPI's `detail` that are referred to, by their names."""
    wanted = {
        status
        for operations in paths.values()
        for operation in operations.values()
        for status, found in operation["responses"].items()
        if DETAILED in found.get("$ref", "")
    }
    content = {JSON_TYPE: {"schema": ref("DetailedError")}}
    name = DETAILED.rpartition("/")[2]
    return {
        f"{name}{status}": _response(int(status), WORDS[int(status)]) | {"content": content}
        for status in sorted(wanted)
    }


def codes(status: int) -> list[str]:
    """Return the codes of all errors with this status."""
    every = {error.code for error in _errors(RouterError) if error.status == status}
    return sorted(code for code in every if code)


def _response(status: int, words: str) -> Json:
    known = ", ".join(f"`{code}`" for code in codes(status))
    headers = {}
    if status in RETRIED:
        headers = {name: header_ref(name) for name in ("Retry-After", "retry-after-ms")}
    elif status in {401, 405}:
        name = "WWW-Authenticate" if status == 401 else "Allow"
        headers = {name: header_ref(name)}
    description = f"{words} Codes: {known}." if known else words
    return answer(description, {JSON_TYPE: ref("Error")}, headers)


def _errors(base: type[RouterError]) -> Iterator[type[RouterError]]:
    for error in base.__subclasses__():
        if error.__module__.startswith("whisper_router."):
            yield error
            yield from _errors(error)
