"""An example for each operation, to be pasted into a shell. Pure."""

import json
import re
import shlex
from collections.abc import Iterator

from whisper_router.api.openapi.parts import FORM_TYPE, JSON_TYPE, Json

BASE = "http://127.0.0.1:8000"
ADDRESSES = {"url": "https://example.org/speech.mp3"}


def example(path: str, method: str, operation: Json) -> str:
    """Return a call of curl."""
    values = {
        item["name"]: str(item["example"])
        for item in operation.get("parameters", ())
        if item["in"] == "path"
    }
    filled = re.sub(r"{(\w+)}", lambda match: values[match[1]], path)
    return " ".join(["curl", *_options(method, operation), shlex.quote(BASE + filled)])


def _options(method: str, operation: Json) -> Iterator[str]:
    if operation["security"]:
        yield '-H "Authorization: Bearer $KEY"'
    content = operation.get("requestBody", {}).get("content", {})
    if FORM_TYPE in content:
        properties = content[FORM_TYPE]["schema"]["properties"]
        for name, schema in properties.items():
            if schema.get("format") == "binary":
                yield f"-F {name}=@speech.mp3"
            elif "example" in schema and (name == "model" or len(properties) == 1):
                yield f"-F {name}={shlex.quote(schema['example'])}"
    elif JSON_TYPE in content:
        required = content[JSON_TYPE]["schema"].get("required", ())
        body = json.dumps({name: ADDRESSES[name] for name in required})
        yield f"-H 'Content-Type: {JSON_TYPE}' -d {shlex.quote(body)}"
    elif method != "get":
        yield f"-X {method.upper()}"
