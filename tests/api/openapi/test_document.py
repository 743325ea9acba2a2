"""The document against the routes, the forms and the standard."""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import OpenAPIV31SpecValidator

from support.api_app import Api, Setup, serve_api
from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.dialects import routes as dialect_routes
from whisper_router.api.key_source import FixedKeys
from whisper_router.api.openapi.document import document
from whisper_router.api.openapi.parts import ALSO_AT
from whisper_router.api.routes import PARTS
from whisper_router.api.services import ServiceInfo

SERVICE = ServiceInfo(name="whisper-router", version="1.2.3", docs="https://example.org/docs")
ALONE = [DialectOptions(enabled=frozenset({dialect})) for dialect in Dialect]
SERVED = [
    DialectOptions(enabled=frozenset()),
    DialectOptions(),
    *(
        DialectOptions(whisperx_root=root, old_sse=old)
        for root, old in ((True, False), (False, True), (True, True))
    ),
    *ALONE,
    DialectOptions(enabled=frozenset({Dialect.WHISPERX}), whisperx_root=True),
]
MODULES = [
    "whisper_router.api.openapi.audio",
    "whisper_router.api.openapi.jobs",
    "whisper_router.api.openapi.live",
    "whisper_router.api.openapi.models",
    "whisper_router.api.openapi.statuses",
]


def name_of(options: DialectOptions) -> str:
    switches = [name for name in ("whisperx_root", "old_sse") if getattr(options, name)]
    return "+".join([*sorted(options.enabled), *switches]) or "none"


def routed(options: DialectOptions) -> set[tuple[str, str]]:
    """Return path and method of every route; HEAD goes with GET."""
    app = web.Application()
    for routes in (dialect_routes(options), *(part.routes() for part in PARTS)):
        app.add_routes(routes)
    return {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }


def described(options: DialectOptions) -> list[tuple[str, str]]:
    """Return path and method of every operation, and of the further paths where it is served."""
    return [
        (place, method)
        for path, operations in document(SERVICE, options)["paths"].items()
        for method, operation in operations.items()
        for place in (path, *operation.get(ALSO_AT, ()))
    ]


@pytest.mark.parametrize("options", SERVED, ids=name_of)
def test_routes_and_operations_are_the_same(options: DialectOptions):
    """Nobody adds a route without describing it, or describes one that is not there."""
    assert set(described(options)) == routed(options)


@pytest.mark.parametrize("options", SERVED, ids=name_of)
def test_no_path_is_listed_that_another_operation_names(options: DialectOptions):
    """What is left out is left out once."""
    assert len(described(options)) == len(set(described(options)))


@pytest.mark.parametrize("options", SERVED, ids=name_of)
def test_the_document_is_valid_openapi(options: DialectOptions):
    """By the schema of version 3.1, with unique operation ids and known references."""
    text = json.dumps(document(SERVICE, options))
    OpenAPIV31SpecValidator(json.loads(text)).validate()
    schemas = json.loads(text)["components"]["schemas"]
    wanted = set(references(json.loads(text)))
    assert wanted <= {f"#/components/{kind}/{name}" for kind, name in components(json.loads(text))}
    assert schemas


def components(described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, parts in described["components"].items():
        yield from ((kind, name) for name in parts)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from references(item)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


@pytest.mark.parametrize("module", MODULES)
def test_every_schema_is_used(module: str):
    """What nothing refers to is not part of the API."""
    used = set(references(document(SERVICE, DialectOptions())))
    names = importlib.import_module(module).schemas()
    assert names
    assert {f"#/components/schemas/{name}" for name in names} <= used


def test_streams_are_described_as_they_are_configured():
    """Those of faster-whisper-server have other events."""
    told = {
        is_old: document(SERVICE, DialectOptions(old_sse=is_old))["components"]["schemas"]
        for is_old in (False, True)
    }
    assert "transcript.text.delta" in told[False]["TranscriptEvents"]["description"]
    assert "transcript.text.delta" not in told[True]["TranscriptEvents"]["description"]


def test_every_tag_is_described_and_used():
    """The page lists operations by tag."""
    told = document(SERVICE, DialectOptions())
    used = {
        tag
        for operations in told["paths"].values()
        for operation in operations.values()
        for tag in operation["tags"]
    }
    assert {tag["name"] for tag in told["tags"]} == used


async def test_who_needs_no_key_is_told_so(tmp_path, http):
    """`security` is empty for exactly those operations that are answered without a key."""
    setup = Setup(keys=FixedKeys(["secret-of-sixteen"]))
    paths = document(SERVICE, DialectOptions())["paths"]
    async with serve_api(tmp_path / "spool", setup) as api:
        for path, operations in paths.items():
            for method, operation in operations.items():
                status = await asked(api, http, method, path)
                assert (status == 401) == bool(operation["security"]), path


async def asked(api: Api, http: aiohttp.ClientSession, method: str, path: str) -> int:
    url = api.root + path.replace("{id}", "x").replace("{alias}", "x")
    async with http.request(method, url) as answer:
        return answer.status
