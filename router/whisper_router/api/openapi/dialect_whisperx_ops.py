"""What whisperX API server tells its operators, in the document. Pure."""

from dataclasses import replace

from whisper_router.api.dialects.whisperx import PREFIX
from whisper_router.api.openapi.parts import (
    Json,
    Key,
    Operation,
    Paths,
    form_body,
    json_answer,
    query,
    text,
)
from whisper_router.api.recognise import DEFAULT_MODEL

TAG = "whisperX API server"
URLENCODED = "application/x-www-form-urlencoded"
LOADING = frozenset({400, 404, 408, 413, 429, 502, 504})
KINDS = {
    "models": ("model", DEFAULT_MODEL, "Models"),
    "align_models": ("language", "en", "Alignments"),
    "diarize_models": ("model", "channels", "Diarizations"),
}


def paths() -> Paths:
    """Return the operations; all are also served without the prefix."""
    detail = query("detail", text("`full`: also the state of each model."))
    found: dict[str, tuple[str, Operation]] = {
        "/healthcheck": (
            "get",
            replace(_shown("Healthcheck", "It answers", "WhisperxHealth"), key=Key.NONE),
        ),
        "/info": ("get", _shown("Info", "What runs here", "WhisperxInfo", detail)),
        "/models/catalog": (
            "get",
            _shown("Catalog", "The models that are here", "WhisperxCatalog"),
        ),
    }
    for path, (field, example, words) in KINDS.items():
        listed = _shown(f"List{words}", f"{words} that are ready", "WhisperxModels")
        found[f"/{path}/list"] = ("get", listed)
        for action in ("load", "unload"):
            operation = _changed(f"{action.capitalize()}{words}", action, field, example)
            found[f"/{path}/{action}"] = ("post", operation)
    return {
        f"{PREFIX}{path}": {method: replace(operation, also_at=[path]).to_json()}
        for path, (method, operation) in found.items()
    }


def _shown(name: str, summary: str, schema: str, *parameters: Json) -> Operation:
    return Operation(
        id=f"whisperx{name}",
        summary=summary,
        tag=TAG,
        parameters=parameters,
        answers={200: json_answer(schema, "It.")},
    )


def _changed(name: str, action: str, field: str, example: str) -> Operation:
    named = text("Which.", example=example)
    body = form_body({"type": "object", "properties": {field: named}}, URLENCODED)
    is_loading = action == "load"
    return Operation(
        id=f"whisperx{name}",
        summary="Load one; answered once it serves" if is_loading else "Unload one",
        tag=TAG,
        description=f"`{field}` is in the form, or in the query.",
        parameters=[query(field, named)],
        body=body | {"required": False},
        answers={200: json_answer("WhisperxDone", "It is done.")},
        refusals=LOADING if is_loading else {400, 404, 408, 413},
        key=Key.ADMIN,
    )
