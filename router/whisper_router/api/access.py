"""Which scope each route needs, and which requests count against limits: one table for all routes.

A route that is not in it is for administrators: a new one is closed until somebody has thought.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiohttp import hdrs, web

from whisper_router.api.exchange import KEY
from whisper_router.api.keys import Key, Scope
from whisper_router.errors import InsufficientScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a route needs. `scope` None: any key will do.

    `is_counted`: a request counts against the limits of its key, and in its figures. That is what
    asks for work: for text, for a live session or a secret for one, for a job. To look at something
    is not.
    """

    scope: Scope | None = None
    is_counted: bool = False


ANY: Final = Rule()
TEXT: Final = Rule(scope=Scope.TRANSCRIBE, is_counted=True)
SESSION: Final = Rule(scope=Scope.LIVE, is_counted=True)
SECRET: Final = Rule(scope=Scope.LIVE, is_counted=True)
NEW_JOB: Final = Rule(scope=Scope.JOBS, is_counted=True)
JOB: Final = Rule(scope=Scope.JOBS)
FIGURES: Final = Rule(scope=Scope.METRICS)
ADMIN: Final = Rule(scope=Scope.ADMIN)
GET, POST, DELETE = hdrs.METH_GET, hdrs.METH_POST, hdrs.METH_DELETE
Rules = Mapping[tuple[str, str], Rule]
"""By method and path as it is registered, without patterns."""


def _openai() -> Iterator[tuple[str, str, Rule]]:
    for prefix in ("/v1", ""):
        for name in ("transcriptions", "translations"):
            yield POST, f"{prefix}/audio/{name}", TEXT
        yield GET, f"{prefix}/audio/transcriptions", SESSION
        yield GET, f"{prefix}/realtime", SESSION
        yield POST, f"{prefix}/realtime/client_secrets", SECRET
        yield POST, f"{prefix}/realtime/transcription_sessions", SECRET
        yield GET, f"{prefix}/models", ANY
        yield GET, f"{prefix}/models/{{id}}", ANY
    yield DELETE, "/models/{id}", ANY  # refused to everybody; with /v1 a dialect has it
    yield DELETE, "/v1/models/{id}", ADMIN


def _own() -> Iterator[tuple[str, str, Rule]]:
    for path in ("/", "/v1", "/v1/", "/health", "/ready", "/openapi.json", "/docs"):
        yield GET, path, ANY
    for path in ("/ui", "/ui/", "/ui/{name}"):
        yield GET, path, ANY
    yield GET, "/v1/activity", ANY  # of the key's own requests, or for administrators of all
    yield POST, "/v1/activity/{id}/cancel", ANY
    yield GET, "/metrics", FIGURES
    yield GET, "/v1/usage", ANY
    yield GET, "/v1/usage/keys", ADMIN
    yield GET, "/v1/progress/{id}", ANY
    yield GET, "/v1/queue", ADMIN
    yield POST, "/v1/jobs", NEW_JOB
    yield GET, "/v1/jobs", JOB
    one = "/v1/jobs/{id}"
    for method, path in (
        (GET, one),
        (GET, f"{one}/events"),
        (GET, f"{one}/result"),
        (POST, f"{one}/cancel"),
        (DELETE, one),
    ):
        yield method, path, JOB
    yield GET, "/v1/config", ADMIN
    yield POST, "/v1/config/reload", ADMIN
    yield GET, "/v1/processes", ADMIN
    yield GET, "/v1/processes/{alias}", ADMIN
    yield GET, "/v1/processes/{alias}/logs", ADMIN
    yield GET, "/v1/system", ADMIN
    yield POST, "/v1/system/doctor", ADMIN
    for action in ("load", "unload", "pin", "unpin", "pull"):
        yield POST, f"/v1/processes/{{alias}}/{action}", ADMIN


def _dialects() -> Iterator[tuple[str, str, Rule]]:
    for path in ("/inference", "/asr", "/detect-language", "/"):
        yield POST, path, TEXT
    for path in ("/v1/audio/speech/timestamps", "/v1/audio/diarization"):
        yield POST, path, TEXT
    for path in ("/v1/audio/speech", "/v1/audio/speech/embedding", "/v1/chat/completions"):
        yield POST, path, ANY  # refused to everybody, and so are the next two
    for path in ("/v1/realtime", "/load"):
        yield POST, path, ANY
    for path in ("/v1/registry", "/v1/audio/models", "/v1/audio/voices", "/api/ps"):
        yield GET, path, ANY
    yield POST, "/v1/models/{id}", ADMIN
    yield POST, "/api/ps/{id}", ADMIN
    yield DELETE, "/api/ps/{id}", ADMIN
    yield GET, "/tasks", ANY
    yield GET, "/status/{id}", ANY
    yield DELETE, "/cancel/{id}", JOB


def _whisperx() -> Iterator[tuple[str, str, Rule]]:
    for name in ("transcriptions", "translations"):
        yield POST, f"/whisperx/v1/audio/{name}", TEXT
    for root in ("/whisperx", ""):
        for path in ("/healthcheck", "/info", "/models/catalog"):
            yield GET, root + path, ANY
        for kind in ("models", "align_models", "diarize_models"):
            yield GET, f"{root}/{kind}/list", ANY
            yield POST, f"{root}/{kind}/load", ADMIN
            yield POST, f"{root}/{kind}/unload", ADMIN
        for view in ("status", "events", "result"):  # of the key's own requests
            yield GET, f"{root}/v1/audio/transcriptions/{{id}}/{view}", ANY


RULES: Final[Rules] = MappingProxyType(
    {
        (method, path): rule
        for part in (_openai(), _own(), _dialects(), _whisperx())
        for method, path, rule in part
    }
)


def rule_of(request: web.Request) -> Rule:
    """Return what the route of a request needs; anybody may hear that there is no such route."""
    resource = request.match_info.route.resource
    if request.match_info.http_exception is not None or resource is None:
        return ANY
    method = GET if request.method == hdrs.METH_HEAD else request.method
    return RULES.get((method, resource.canonical), ADMIN)


def require_scope(request: web.Request, scope: Scope) -> None:
    """Let keys with the scope pass, and everybody where no key is needed.

    Raises:
        InsufficientScope: the key has not that scope; the message names it.
    """
    key = request.get(KEY)
    if key is not None:
        check_scope(key, scope)


def check_scope(key: Key, scope: Scope) -> None:
    """Raise InsufficientScope unless the key has the scope."""
    if scope not in key.allowed:
        has = ", ".join(key.allowed) or "none"
        raise InsufficientScope(
            f"The key '{key.name}' lacks the scope '{scope}', which this needs. It has: {has}."
        )
