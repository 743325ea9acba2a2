"""`/openapi.json` and `/docs`. Both are open: they tell nothing that the source does not."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from whisper_router.api.deps import ApiDeps
from whisper_router.api.openapi.document import document
from whisper_router.api.openapi.page import POLICY, page
from whisper_router.api.wire import encode_json, encode_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The document and its page, ready to be sent."""

    document: bytes
    page: bytes


REFERENCE = web.AppKey("reference", Reference)


def make_reference(deps: ApiDeps) -> Reference:
    """Return the description of what an application with these parts serves."""
    described = document(deps.service, deps.dialects)
    return Reference(document=encode_json(described), page=encode_text(page(described)))


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [web.get("/openapi.json", show_document), web.get("/docs", show_page)]


async def show_document(request: web.Request) -> web.Response:
    """GET /openapi.json. Needs no key."""
    body = request.app[REFERENCE].document
    return web.Response(body=body, content_type="application/json")


async def show_page(request: web.Request) -> web.Response:
    """GET /docs. Needs no key."""
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(
        body=request.app[REFERENCE].page,
        headers=headers,
        content_type="text/html",
        charset="utf-8",
    )
