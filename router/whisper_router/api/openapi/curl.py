"""An example for each operation, to be pasted into a shell. Pure."""

import json
import re
import shlex
from collections.abc import Iterator

from whisper_router.api.openapi.parts import FORM_TYPE, JSON_TYPE, Json

BASE = "http://127.0.0.1:8000"


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
        yield "-F file=@speech.mp3"
        properties = content[FORM_TYPE]["schema"]["properties"]
        if "model" in properties:
            yield f"-F model={shlex.quote(properties['model']['example'])}"
    elif JSON_TYPE in content:
        yield f"-H 'Content-Type: {JSON_TYPE}' -d {shlex.quote(json.dumps({}))}"
    elif method != "get":
        yield f"-X {method.upper()}"
