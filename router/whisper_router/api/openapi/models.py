"""The models that requests may name. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from whisper_router.api.openapi.parts import (
    Json,
    Operation,
    Paths,
    integer,
    json_answer,
    listing,
    number,
    path_parameter,
    record,
    text,
)
from whisper_router.api.recognise import DEFAULT_MODEL

TAG = "Models"
ONE = "/models/{id}"


def paths() -> Paths:
    """Return the operations."""
    named = [path_parameter("id", "A model's name; it may hold slashes.", DEFAULT_MODEL)]
    listed = Operation(
        id="listModels",
        summary="The models that may be named",
        tag=TAG,
        description="Presets of the catalogue are listed once their files are here.",
        answers={200: json_answer("ModelList", "The models.")},
        also_at=["/models"],
    )
    shown = Operation(
        id="retrieveModel",
        summary="One model, listed or not",
        tag=TAG,
        parameters=named,
        answers={200: json_answer("Model", "The model.")},
        refusals=[404],
        also_at=[ONE],
    )
    deleted = Operation(
        id="deleteModel",
        summary="Refused: models come from the configuration",
        tag=TAG,
        parameters=named,
        answers={},
        refusals=[403, 404],
        also_at=[ONE],
    )
    return {
        "/v1/models": {"get": listed.to_json()},
        f"/v1{ONE}": {"get": shown.to_json(), "delete": deleted.to_json()},
    }


def schemas() -> Json:
    """Return the schemas of models."""
    return {"Model": model(), "ModelList": listing("Model", "Models.")}


def model(more: Mapping[str, Json] = MappingProxyType({})) -> Json:
    """Return the schema of a model; `more` are properties that it has in another server's API."""
    properties: dict[str, Json] = {
        "id": text("What requests name."),
        "object": text("Always `model`.", const="model"),
        "created": integer("Unix time.", 0),
        "owned_by": text("Where the name comes from."),
        "model": text("The alias that the name means, if it is another name."),
        "engine": text("The engine that serves it."),
        "state": text("`absent`, `downloading`, or the state of its processes."),
        "download_percent": number("How much of the file is here.", 0, 100),
        "acceleration": {"type": "object", "description": "Accelerator: requested, in effect."},
        "memory_bytes": integer("What its processes take.", 0),
        "gpu_memory_bytes": integer("The same on GPUs.", 0),
        "last_error": text("Of its engine."),
        "breaker": text("Whether a start would be attempted, unless it is `closed`."),
    }
    own = {"id", "object", "created", "owned_by"}
    return record("A model.", {**properties, **more}, optional=set(properties) - own)
