"""Serves an application over connections that are limited: in number, in size, in time."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from whisper_router.api.connection import Connection, ConnectionLimits, too_large_headers
from whisper_router.api.crowd import Crowd, CrowdLimits
from whisper_router.api.malformed import MALFORMED, Malformed
from whisper_router.api.problems import problem, too_many_open_files
from whisper_router.api.tls_gate import TlsGate

FIELD_EXTRA_BYTES = 4  # ": " and the end of the line
TlsContext = Callable[[], ssl.SSLContext]


class ApiRunner(web.AppRunner):
    """`web.AppRunner` with our errors and limits, and with TLS if there is a `tls_context`.

    While there are as many connections as there may be, and none of them waits for a request,
    requests of those that come are refused.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        limits: ConnectionLimits | None = None,
        crowd: CrowdLimits | None = None,
        tls_context: TlsContext | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(app, **settings)
        self._limits = limits or ConnectionLimits()
        self._crowd, self._tls_context = Crowd(crowd or CrowdLimits()), tls_context

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        server = _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            loop=made._loop,
            **made._kwargs,
        )
        server.limits, server.crowd = self._limits, self._crowd
        server.tls_context = self._tls_context
        server.malformed = self.app[MALFORMED]
        return server


class _Server(web.Server):
    limits: ConnectionLimits
    crowd: Crowd
    malformed: Malformed
    tls_context: TlsContext | None = None

    def __call__(self) -> web.RequestHandler:
        if self.tls_context is None:
            return self._connection()
        gate: asyncio.BaseProtocol = TlsGate(
            self._connection(),
            self.tls_context(),
            self.crowd,
            timeout_s=self.limits.header_timeout_s,
        )
        return gate  # type: ignore[return-value]  # one is inside

    def _connection(self) -> Connection:
        return Connection(self, self.crowd, self.limits, self.malformed, **self._kwargs)


@web.middleware
async def refuse_surplus(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what comes over a connection that is one too many, except for `/health`.

    And headers that are too large together, although each of them is not.
    """
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    if connection.is_surplus and request.path != "/health":
        response = problem(too_many_open_files())
        response.force_close()
        return response
    size = sum(len(name) + len(value) + FIELD_EXTRA_BYTES for name, value in request.raw_headers)
    if size > connection.limits.max_header_bytes:
        response = problem(too_large_headers(connection.limits))
        response.force_close()
        return response
    return await handler(request)
