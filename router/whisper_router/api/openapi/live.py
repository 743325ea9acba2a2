"""Live transcription: the WebSockets, and secrets for those that must not hold a key. Pure."""

from typing import Any

from whisper_router.api.live_order import DEFAULT_MODEL, TELLABLE
from whisper_router.api.openapi import form
from whisper_router.api.openapi.parts import (
    JSON_TYPE,
    Json,
    Operation,
    Paths,
    boolean,
    integer,
    json_answer,
    nullable,
    number,
    query,
    record,
    ref,
    text,
    upgrade,
)
from whisper_router.api.realtime.config import SessionConfig
from whisper_router.api.realtime.routes import LEAST_S, MOST_S, USUAL_S
from whisper_router.api.realtime.shapes import FORMATS, OBJECT

TAG = "Live"
BEFORE = "What is wrong with the request is answered as HTTP before the upgrade."


def paths() -> Paths:
    """Return the operations."""
    return {
        "/v1/audio/transcriptions": {"get": _raw().to_json()},
        "/v1/realtime": {"get": _realtime().to_json()},
        "/v1/realtime/client_secrets": {"post": _secrets().to_json()},
        "/v1/realtime/transcription_sessions": {"post": _beta_sessions().to_json()},
    }


def schemas() -> Json:
    """Return the schemas of sessions: those that the Realtime API's messages are checked with."""
    config = SessionConfig.model_json_schema(ref_template="#/components/schemas/Realtime{model}")
    parts: dict[str, Any] = config.pop("$defs")
    told = config["properties"]
    return {
        **{f"Realtime{name}": schema for name, schema in parts.items()},
        "RealtimeSessionConfig": {**config, "required": ["type"]},
        "RealtimeSession": record(
            "A session as it is told.",
            {
                "id": text("Its id."),
                "object": text(f"Always `{OBJECT}`.", const=OBJECT),
                "type": told["type"],
                "expires_at": integer("Unix time.", 0),
                "include": told["include"],
                "audio": ref("RealtimeAudio"),
            },
        ),
        "BetaSession": _beta_session(),
        "ClientSecret": record(
            "A secret that is good for `/v1/realtime` alone.",
            {
                "value": text("The secret."),
                "expires_at": integer("Unix time.", 0),
                "session": ref("RealtimeSession"),
            },
        ),
        "NewClientSecret": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "session": {"anyOf": [ref("RealtimeSessionConfig"), {"type": "null"}]},
                "expires_after": {
                    "type": ["object", "null"],
                    "description": "For how long it is good.",
                    "properties": {
                        "anchor": text("Since when.", const="created_at"),
                        "seconds": integer("So long.", LEAST_S, MOST_S) | {"default": USUAL_S},
                    },
                },
            },
        },
    }


def _raw() -> Operation:
    audio = {field.name: field.schema for field in form.common()}
    patience = (("no_data_s", "nothing comes"), ("inactivity_s", "nobody speaks"))
    formats = sorted(item.value for item in TELLABLE)
    return Operation(
        id="transcribeLive",
        summary="What is being said, while it is said (WebSocket)",
        tag=TAG,
        description="Send 16 kHz mono s16le samples in binary messages; after each change all "
        f"confirmed text is told. {BEFORE}",
        parameters=[
            query("model", form.MODEL | {"default": DEFAULT_MODEL}),
            *(
                query(name, audio[name])
                for name in ("language", "prompt", "temperature", "hotwords")
            ),
            query("response_format", text("How it is told.", enum=formats, default="json")),
            query("vad_filter", boolean("Accepted: speech is always looked for.")),
            query("interim", boolean("Tell also what may change, and the lag.", default=False)),
            *(query(name, number(f"The end, when {words}.", 0, 3600)) for name, words in patience),
            _key_in_query(),
        ],
        answers={101: upgrade("The WebSocket.")},
        refusals=[400, 403, 404, 405, 429],
        also_at=["/audio/transcriptions"],
    )


def _realtime() -> Operation:
    return Operation(
        id="realtime",
        summary="The Realtime API for transcription sessions (WebSocket)",
        tag=TAG,
        description="Events are those of the Realtime API. A browser names its key, or better a "
        "client secret, as the subprotocol `openai-insecure-api-key.KEY` beside `realtime`. "
        f"{BEFORE}",
        parameters=[
            query("model", form.MODEL),
            query("intent", text("Accepted: every session is one for transcription.")),
            _key_in_query(),
        ],
        answers={101: upgrade("The WebSocket.")},
        refusals=[400, 403],
        also_at=["/realtime"],
    )


def _secrets() -> Operation:
    return Operation(
        id="createClientSecret",
        summary="A secret for a page or an app",
        tag=TAG,
        description="Its sessions begin with `session`.",
        body=_body("NewClientSecret"),
        answers={200: json_answer("ClientSecret", "The secret.")},
        refusals=[400, 403, 408, 413, 429],
        also_at=["/realtime/client_secrets"],
    )


def _beta_sessions() -> Operation:
    return Operation(
        id="createTranscriptionSession",
        summary="The same, in the shape of the retired beta",
        tag=TAG,
        body={
            "content": {
                JSON_TYPE: {
                    "schema": {
                        "type": "object",
                        "properties": _flat(),
                        "additionalProperties": False,
                    }
                }
            }
        },
        answers={200: json_answer("BetaSession", "The session, with its secret.")},
        refusals=[400, 403, 408, 413, 429],
        also_at=["/realtime/transcription_sessions"],
    )


def _flat() -> Json:
    told = SessionConfig.model_json_schema(ref_template="#/components/schemas/Realtime{model}")
    given = told["$defs"]["Input"]["properties"]
    names = {
        "input_audio_transcription": "transcription",
        "input_audio_noise_reduction": "noise_reduction",
        "turn_detection": "turn_detection",
    }
    return {
        "input_audio_format": text("How the audio comes.", enum=list(FORMATS)),
        **{name: given[key] for name, key in names.items()},
        "include": told["properties"]["include"],
    }


def _beta_session() -> Json:
    secret = record(
        "The secret.", {"value": text("Itself."), "expires_at": integer("Unix time.", 0)}
    )
    return record(
        "A session in the shape of the beta.",
        {
            "id": text("Its id."),
            "object": text(f"Always `{OBJECT}`.", const=OBJECT),
            "expires_at": integer("Unix time.", 0),
            "client_secret": nullable(secret),
            **_flat(),
        },
    )


def _body(schema: str) -> Json:
    return {"content": {JSON_TYPE: {"schema": ref(schema)}}}


def _key_in_query() -> Json:
    return query("api_key", text("A key, for browsers. Proxies may log it."))
