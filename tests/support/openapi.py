"""Answers held to the document."""

from typing import Any

import aiohttp
from jsonschema import Draft202012Validator

from whisper_router.api.deps import DialectOptions
from whisper_router.api.openapi.document import document
from whisper_router.api.services import ServiceInfo

SERVICE = ServiceInfo(name="x", version="1", docs="https://example.org")


def described(**options: Any) -> dict[str, Any]:
    """Return the document of a server with these dialects."""
    return document(SERVICE, DialectOptions(**options))


def check(told: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Raise ValidationError unless a value is what a schema of the document says."""
    Draft202012Validator({**schema, "components": told["components"]}).validate(value)


async def check_answer(path: str, answer: aiohttp.ClientResponse) -> Any:
    """Return the body of an answer of an operation at this path, which must be a described one."""
    told = described()
    operation = told["paths"][path][answer.method.lower()]
    response = operation["responses"][str(answer.status)]
    if "$ref" in response:
        response = told["components"]["responses"][response["$ref"].rpartition("/")[2]]
    kind = answer.headers["Content-Type"].partition(";")[0]
    body = await answer.json() if kind == "application/json" else await answer.text()
    check(told, response["content"][kind]["schema"], body)
    return body
