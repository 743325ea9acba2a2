"""What `/v1/usage` answers. Pure."""

from whisper_router.api.keys import Scope
from whisper_router.api.openapi.parts import (
    Json,
    Key,
    Operation,
    Paths,
    array,
    integer,
    json_answer,
    listing,
    nullable,
    number,
    record,
    text,
)

TAG = "Usage"


def paths() -> Paths:
    """Return the operations."""
    own = Operation(
        id="showUsage",
        summary="What the key may, and what it has used",
        tag=TAG,
        answers={200: json_answer("Usage", "Of the key that asks.")},
    )
    every = Operation(
        id="listUsage",
        summary="The same of every key",
        tag=TAG,
        answers={200: json_answer("UsageList", "Also of keys that never called.")},
        key=Key.ADMIN,
    )
    return {"/v1/usage": {"get": own.to_json()}, "/v1/usage/keys": {"get": every.to_json()}}


def schemas() -> Json:
    """Return them by name."""
    figures: dict[str, Json] = {
        "requests": integer("Requests for text, live sessions and jobs.", 0),
        "errors": integer("Those that were answered with an error.", 0),
        "audio_seconds": number("Audio that was recognised.", 0),
    }
    limits: dict[str, Json] = {
        "requests_per_minute": nullable(integer("In any 60 s.", 1)),
        "concurrent_requests": nullable(integer("At a time.", 1)),
        "audio_minutes_per_day": nullable(number("From midnight to midnight, UTC.", 0)),
    }
    now: dict[str, Json] = {
        "requests_in_minute": integer("Admitted in the last 60 s.", 0),
        "concurrent_requests": integer("That run.", 0),
    }
    scope = text("A scope.", enum=[scope.value for scope in Scope])
    return {
        "Usage": record(
            "What a key may, and what it has used.",
            {
                "object": text("Always `usage`.", const="usage"),
                "key": nullable(text("Its name; null where no key is needed.")),
                "scopes": array(scope, "What it may do."),
                "models": nullable(array({"type": "string"}, "The only ones; null: all.")),
                "expires_at": nullable(integer("Unix time.")),
                "limits": record("Null: none.", limits),
                "now": record("At this moment.", now),
                "today": record("This day.", {"date": text("The day, UTC."), **figures}),
                "total": record(
                    "Since counting began.", {**figures, "since": integer("Unix time.")}
                ),
            },
        ),
        "UsageList": listing("Usage", "The keys."),
    }
