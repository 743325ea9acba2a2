"""Schemas and descriptions as HTML. Pure."""

import json
import re
from html import escape

from whisper_router.api.openapi.parts import Json

SCHEMAS = "#/components/schemas/"


def prose(text: str) -> str:
    """Return a description as paragraphs; what is between backticks is code."""
    return "".join(f"<p>{_inline(part)}</p>\n" for part in text.split("\n\n") if part.strip())


def anchor(text: str) -> str:
    """Return an id for a part of the page."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def type_words(schema: Json) -> str:
    """Return what values a schema allows, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(SCHEMAS)
        return f'<a href="#{anchor("schema " + name)}">{escape(name)}</a>'
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(type_words(item) for item in schema[key])
    return ", ".join(_facts(schema)) or "anything"


def _facts(schema: Json) -> list[str]:
    facts = []
    kinds = schema.get("type", [])
    named = [kinds] if isinstance(kinds, str) else list(kinds)
    if "enum" in schema:
        values = [_value(value) for value in schema["enum"]]
        facts.append("one of " + ", ".join(values))
    elif "const" in schema:
        facts.append(_value(schema["const"]))
    elif "items" in schema:
        facts.append(f"array: {type_words(schema['items'])}")
    elif schema.get("format") == "binary":
        facts.append("a file")
    elif named:
        facts.append(" or ".join(escape(kind) for kind in named))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        facts.append(f"{low} to {high}")
    elif low is not None:
        facts.append(f"at least {low}")
    if "default" in schema:
        facts.append(f"default {_value(schema['default'])}")
    return facts


def _inline(text: str) -> str:
    pieces = escape(text.strip(), quote=False).split("`")
    return "".join(f"<code>{part}</code>" if odd % 2 else part for odd, part in enumerate(pieces))


def _value(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value)
    return f"<code>{escape(shown)}</code>"
