"""TLS before HTTP: a connection is one of the crowd while it shakes hands, and not for long.

Each handshake gets the certificate of its moment, so a renewed one needs no new listening socket.
This is asyncio's own TLS also on uvloop, whose listening sockets tell of a connection only after
its handshake: whoever never ends that would not be counted.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from typing import cast

from whisper_router.api.crowd import Crowd
from whisper_router.api.proxies import peer_address
from whisper_router.metrics import CONNECTIONS_CUT

CLOSE_S = 2
"""How long a client may take to say that it has heard of the end."""


class TlsGate(SSLProtocol):
    """Shakes hands, then serves `inner` over what is encrypted."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        context: ssl.SSLContext,
        crowd: Crowd,
        *,
        timeout_s: float,
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=timeout_s,  # type: ignore[arg-type]  # it may be a float
            ssl_shutdown_timeout=CLOSE_S,
        )
        self._crowd, self._is_shaking = crowd, True
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        is_overrun = self._crowd.is_overrun
        self._crowd.enter(self, peer_address(transport.get_extra_info("peername")))
        self._wire = cast("asyncio.Transport", transport)  # uvloop's is none by name
        super().connection_made(self._wire)
        if is_overrun:
            self.give_way()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Leave the crowd, and count who did not finish."""
        self._crowd.leave(self)
        if self._is_shaking:
            self._is_shaking = False
            CONNECTIONS_CUT.labels("no_handshake").inc()
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close, because others need the room."""
        if self._wire is not None:
            CONNECTIONS_CUT.labels("gave_way").inc()
            self._wire.abort()

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        self._crowd.leave(self)  # and what is inside enters
        self._is_shaking = handshake_exc is not None
        super()._on_handshake_complete(handshake_exc)
