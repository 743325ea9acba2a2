"""The OpenAPI 3.1 document of the API as it is served. Pure."""

from collections.abc import Mapping

from whisper_router.api.access import ANY, RULES
from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.dialects import detailed_paths
from whisper_router.api.openapi import (
    activity,
    audio,
    jobs,
    live,
    models,
    operations,
    statuses,
    usage,
)
from whisper_router.api.openapi.dialects import PARTS, Part, detailed, merged, served_parts
from whisper_router.api.openapi.parts import ALSO_AT, DIALECT, Json, Paths, refusal
from whisper_router.api.openapi.refusals import detailed_responses, responses
from whisper_router.api.services import ServiceInfo

VERSION = "3.1.0"
TAGS = {
    audio.TAG: "Recorded speech.",
    live.TAG: "Speech while it is spoken.",
    jobs.TAG: "Long work, which survives restarts.",
    models.TAG: "What requests may name.",
    operations.REQUESTS: "How far requests are.",
    usage.TAG: "What keys have used.",
    operations.ADMINISTRATION: "For keys with the scope `admin`, the key `API_KEY`, and everybody "
    "where no key is configured.",
    operations.SERVER: "What this server is.",
}
LIMITS = {
    "limit-requests": "Requests in any 60 s.",
    "remaining-requests": "How many may still come now.",
    "reset-requests": "After how long all of them may.",
    "limit-concurrent-requests": "Requests at a time.",
    "remaining-concurrent-requests": "How many more may run.",
    "limit-audio-seconds": "Audio in a day.",
    "remaining-audio-seconds": "What is left of it.",
    "reset-audio-seconds": "Until midnight, UTC.",
}
ABOUT = (
    "Speech recognition behind the OpenAI audio API. Where `GET` works `HEAD` does too.\n\n"
    f"`{ALSO_AT}` names further paths of an operation: those of OpenAI also work without `/v1`."
)


def document(
    service: ServiceInfo, options: DialectOptions, dialects: Mapping[Dialect, Part] = PARTS
) -> Json:
    """Return the document for a server with these dialects."""
    parts = served_parts(options, dialects)
    schemas: Json = {}
    for part in parts:
        schemas |= part.schemas
    for module in (audio, live, activity, jobs, models, statuses, usage):
        schemas |= module.schemas()
    if options.old_sse:
        schemas |= audio.old_events()
    paths = detailed(_with_rules(merged(_own(), parts)), detailed_paths(options))
    tags: list[Json] = [{"name": name, "description": words} for name, words in TAGS.items()]
    tags += [{"name": part.tag, "description": part.description, DIALECT: True} for part in parts]
    return {
        "openapi": VERSION,
        "info": {
            "title": service.name,
            "version": service.version,
            "summary": "Speech recognition on your own machines.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "externalDocs": {"url": service.docs, "description": "What everything means."},
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "webhooks": jobs.webhooks(),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": responses() | detailed_responses(paths),
            "headers": _headers(),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "`Authorization: Bearer KEY`. Not needed where the server has "
                    "no keys.",
                },
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def _own() -> Paths:
    """Return the operations that are there whatever dialects are served."""
    joined: dict[str, dict[str, Json]] = {}
    for module in (audio, live, activity, jobs, models, operations, usage):
        for path, found in module.paths().items():
            joined.setdefault(path, {}).update(found)
    return joined


def _with_rules(paths: Paths) -> Paths:
    """Return the operations with the refusals that keys' scopes and limits may bring them."""
    for path, methods in paths.items():
        for method, operation in methods.items():
            rule = RULES.get((method.upper(), path), ANY)
            statuses = [403] if rule.scope is not None else []
            for status in [*statuses, 429] if rule.is_counted else statuses:
                operation["responses"].setdefault(str(status), refusal(status))
    return paths


def _headers() -> Json:
    words = {
        "x-request-id": "The request's id, also in the log.",
        "openai-processing-ms": "Time until the answer began, in milliseconds.",
        "x-queue-position": "How many chunks were to have their turns before the first one.",
        "x-queue-time": "How long the first chunk waited for its turn, in milliseconds.",
        "Retry-After": "When to try again, in seconds.",
        "retry-after-ms": "The same in milliseconds.",
        "WWW-Authenticate": "Always `Bearer`.",
        "Allow": "The methods that the path has.",
        **{
            f"x-ratelimit-{name}": f"{words} Of keys that have such a limit."
            for name, words in LIMITS.items()
        },
        "x-should-retry": "`false` where to wait is of no use for a while.",
        "Location": "The path of the job.",
        "Asr-Engine": "The engine of the model.",
        "Content-Disposition": "What the file might be called.",
        "Content-Security-Policy": "Nothing is loaded from anywhere.",
    }
    return {
        name: {"description": description, "schema": {"type": "string"}}
        for name, description in words.items()
    }
