"""The page for people, `/ui`: static files, which need no key. What they ask for does."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType

from aiohttp import hdrs, web

HTML = "text/html"
TYPES: Mapping[str, str] = MappingProxyType(
    {
        "html": f"{HTML}; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
    }
)
INDEX = "index.html"
FRONT = "front"
"""The name of the route `GET /` of our own; a dialect that has one comes before it."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; worker-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: it asks nobody but this server."""
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
        "Cache-Control": "no-cache",  # kept, but asked for again: it is to fit the server
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the page, ready to be sent."""

    body: bytes
    content_type: str
    etag: str


class Page:
    """The files of the page; they are read once somebody asks, in a thread."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._files: Mapping[str, File] | None = None

    async def file(self, name: str) -> File:
        """Return a file by its name. Raises HTTPNotFound."""
        async with self._lock:
            if self._files is None:
                self._files = await asyncio.to_thread(read_files)
        if name not in self._files:
            raise web.HTTPNotFound
        return self._files[name]


PAGE = web.AppKey("page", Page)


def read_files() -> Mapping[str, File]:
    """Return every file of the page by its name."""
    found = {}
    for entry in (files("whisper_router") / "ui").iterdir():
        content_type = TYPES.get(entry.name.rpartition(".")[2])
        if content_type is not None and entry.is_file():
            body = entry.read_bytes()
            etag = hashlib.sha256(body).hexdigest()[:32]
            found[entry.name] = File(body=body, content_type=content_type, etag=etag)
    return found


def routes() -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/ui", to_page),
        web.get("/ui/", show_page),
        web.get("/ui/{name}", show_file),
    ]


def is_open(request: web.Request) -> bool:
    """Tell whether a request is one for the page, which needs no key."""
    if request.match_info.handler in {to_page, show_page, show_file}:
        return True
    return request.match_info.route.name == FRONT and is_browser(request)


def is_browser(request: web.Request) -> bool:
    """Tell whether somebody looks at the answer: programs do not ask for HTML."""
    return HTML in request.headers.get(hdrs.ACCEPT, "").lower()


async def to_page(_: web.Request) -> web.Response:
    """GET /ui, and GET / of a browser: the page's own links begin at `/ui/`.

    The place is a relative one, for proxies that serve us below a path.
    """
    return web.Response(status=302, headers={hdrs.LOCATION: "ui/", hdrs.VARY: hdrs.ACCEPT})


async def show_page(request: web.Request) -> web.Response:
    """GET /ui/. Needs no key."""
    return await _send(request, INDEX)


async def show_file(request: web.Request) -> web.Response:
    """GET /ui/{name}: a file of the page. Needs no key."""
    return await _send(request, request.match_info["name"])


async def _send(request: web.Request, name: str) -> web.Response:
    file = await request.app[PAGE].file(name)
    known = {tag.value for tag in request.if_none_match or ()}
    response = web.Response(headers=HEADERS)
    response.etag = file.etag
    if file.etag in known or "*" in known:
        response.set_status(304)
    else:
        response.body = file.body
        response.headers[hdrs.CONTENT_TYPE] = file.content_type
    return response
