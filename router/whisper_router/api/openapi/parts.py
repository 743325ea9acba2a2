"""What the document is made of: schemas, parameters, operations. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

Json = dict[str, Any]
Paths = Mapping[str, Mapping[str, Json]]
"""Path → method in lower case → operation object."""

JSON_TYPE, TEXT_TYPE, EVENTS_TYPE = "application/json", "text/plain", "text/event-stream"
ANY_TEXT: Json = {"type": "string"}
FORM_TYPE, HTML_TYPE = "multipart/form-data", "text/html"
EVENTS: Json = {"description": "Server-sent events."}
ALSO_AT = "x-also-at"
"""Further paths of the same operation, which are not listed for themselves."""
DIALECT = "x-dialect"
"""Marks the tags of other servers' APIs."""
PLAIN, DETAILED = "/responses/Error", "/responses/DetailedError"
"""Error answers, and those with FastAPI's `detail` beside `error`."""

EVERYWHERE = frozenset({414, 431, 500, 503})
"""Statuses of errors that every operation may have."""


class Key(Enum):
    """Which keys an operation asks for, where there are keys."""

    NONE = "none"
    ANY = "any"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path.

    `answers` are those that are no errors, by status; `refusals` are the statuses of errors besides
    those that every operation may have. `also_at` are further paths where it is served.
    """

    id: str
    summary: str
    tag: str
    description: str = ""
    parameters: Sequence[Json] = ()
    body: Json | None = None
    answers: Mapping[int, Json]
    refusals: Iterable[int] = ()
    key: Key = Key.ANY
    also_at: Sequence[str] = ()

    def to_json(self) -> Json:
        """Return the operation object."""
        statuses = {*EVERYWHERE, *self.refusals} - set(self.answers)
        if self.key is not Key.NONE:
            statuses.add(401)
        if self.key is Key.ADMIN:
            statuses.add(403)
        optional: Json = {
            "description": self.description,
            "parameters": list(self.parameters),
            "requestBody": self.body,
            ALSO_AT: list(self.also_at),
        }
        return {
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag],
            **{name: value for name, value in optional.items() if value},
            "responses": {
                **{str(status): answer for status, answer in self.answers.items()},
                **{str(status): refusal(status) for status in sorted(statuses)},
            },
            "security": [] if self.key is Key.NONE else [{"bearer": []}, {"apiKey": []}],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """A field of a form. `aliases` are other names that are understood as well."""

    name: str
    schema: Json
    aliases: Sequence[str] = field(default_factory=tuple)

    @property
    def described(self) -> Json:
        """The schema, with the other names in its description."""
        if not self.aliases:
            return self.schema
        names = ", ".join(f"`{name}`" for name in self.aliases)
        return self.schema | {"description": f"{self.schema['description']} Also {names}."}


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectPart:
    """What a dialect adds. Its operations take the place of our own at the same path.

    `tag` tells people what it is; `schemas` have names that begin with the dialect's.
    """

    tag: str
    description: str
    paths: Paths
    schemas: Json = field(default_factory=dict)


def ref(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(description: str, **more: object) -> Json:
    """Return the schema of a string."""
    return {"type": "string", "description": description, **more}


def boolean(description: str, **more: object) -> Json:
    """Return the schema of true and false."""
    return {"type": "boolean", "description": description, **more}


def integer(description: str, low: int | None = None, high: int | None = None) -> Json:
    """Return the schema of a whole number."""
    return {"type": "integer", "description": description, **_bounds(low, high)}


def number(description: str, low: float | None = None, high: float | None = None) -> Json:
    """Return the schema of a number."""
    return {"type": "number", "description": description, **_bounds(low, high)}


def one_of(choices: type[StrEnum], description: str, default: StrEnum | None = None) -> Json:
    """Return the schema of an enumeration's values."""
    usual = {} if default is None else {"default": default.value}
    return text(description, enum=[member.value for member in choices], **usual)


def array(items: Json, description: str, **more: object) -> Json:
    """Return the schema of an array."""
    return {"type": "array", "items": items, "description": description, **more}


def nullable(schema: Json) -> Json:
    """Return a schema that also allows null."""
    if "enum" in schema:
        schema = schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def record(description: str, properties: Mapping[str, Json], optional: Iterable[str] = ()) -> Json:
    """Return the schema of an object; further keys are allowed."""
    missing = set(optional)
    return {
        "type": "object",
        "description": description,
        "required": [name for name in properties if name not in missing],
        "properties": dict(properties),
    }


def listing(item: str, description: str) -> Json:
    """Return the schema of a list object."""
    return record(
        description,
        {"object": text("Always `list`.", const="list"), "data": array(ref(item), "The entries.")},
    )


def form_body(schema: Json, *further: str) -> Json:
    """Return a body that is a form; `further` are content types of the same."""
    return {
        "required": True,
        "content": {kind: {"schema": schema} for kind in (FORM_TYPE, *further)},
    }


def path_parameter(name: str, description: str, example: str) -> Json:
    """Return a parameter of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }


def query(name: str, schema: Json) -> Json:
    """Return an optional parameter of the query."""
    shown = {key: value for key, value in schema.items() if key != "description"}
    return {"name": name, "in": "query", "description": schema["description"], "schema": shown}


def header(name: str, schema: Json) -> Json:
    """Return an optional header of the request."""
    return query(name, schema) | {"in": "header"}


def answer(
    description: str, content: Mapping[str, Json], headers: Mapping[str, Json] | None = None
) -> Json:
    """Return an answer: schemas by content type. Every answer has the common headers."""
    return {
        "description": description,
        "headers": {**COMMON_HEADERS, **(headers or {})},
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
    }


def json_answer(schema: str, description: str) -> Json:
    """Return a JSON answer with the schema of this name."""
    return answer(description, {JSON_TYPE: ref(schema)})


def upgrade(description: str) -> Json:
    """Return the answer with which a WebSocket begins."""
    return {"description": description, "headers": COMMON_HEADERS}


def refusal(status: int) -> Json:
    """Return a reference to the error answer with this status."""
    return {"$ref": f"#/components{PLAIN}{status}"}


def header_ref(name: str) -> Json:
    """Return a reference to a header of answers."""
    return {"$ref": f"#/components/headers/{name}"}


COMMON_HEADERS: Json = {name: header_ref(name) for name in ("x-request-id", "openai-processing-ms")}


def _bounds(low: float | None, high: float | None) -> Json:
    bounds = {"minimum": low, "maximum": high}
    return {name: value for name, value in bounds.items() if value is not None}
