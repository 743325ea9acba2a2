"""`/openapi.json` and `/docs`. Both are open: they tell nothing that the source does not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from whisper_router.api.deps import ApiDeps
from whisper_router.api.openapi.document import document
from whisper_router.api.openapi.page import POLICY, page
from whisper_router.api.wire import encode_json, encode_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The document and its page, ready to be sent."""

    document: bytes
    page: bytes


class Reference:
    """Describes an application, once somebody asks: it takes some 30 ms, in a thread."""

    def __init__(self, deps: ApiDeps) -> None:
        self._service, self._dialects = deps.service, deps.dialects
        self._lock = asyncio.Lock()
        self._pages: Pages | None = None

    async def pages(self) -> Pages:
        """Return the pages, always the same."""
        async with self._lock:
            if self._pages is None:
                self._pages = await asyncio.to_thread(self._make)
            return self._pages

    def _make(self) -> Pages:
        described = document(self._service, self._dialects)
        return Pages(document=encode_json(described), page=encode_text(page(described)))


REFERENCE = web.AppKey("reference", Reference)


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [web.get("/openapi.json", show_document), web.get("/docs", show_page)]


async def show_document(request: web.Request) -> web.Response:
    """GET /openapi.json. Needs no key."""
    pages = await request.app[REFERENCE].pages()
    return web.Response(body=pages.document, content_type="application/json")


async def show_page(request: web.Request) -> web.Response:
    """GET /docs. Needs no key."""
    pages = await request.app[REFERENCE].pages()
    headers = {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(
        body=pages.page,
        headers=headers,
        content_type="text/html",
        charset="utf-8",
    )
