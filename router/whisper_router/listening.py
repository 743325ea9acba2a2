"""From the settings, how the API is listened for: certificate, proxies, limits of connections."""

import socket

from whisper_router.api.certificates import Certificates
from whisper_router.api.connection import ConnectionLimits
from whisper_router.api.crowd import CrowdLimits
from whisper_router.api.hosts import HostPolicy
from whisper_router.api.proxies import TrustedProxies, parse_address, parse_network
from whisper_router.descriptors import file_limits
from whisper_router.settings import Settings

MAX_WYOMING_CLIENTS = 128


def certificates_of(settings: Settings) -> Certificates | None:
    """Return the certificate of the API; None: it has none. Blocking. Raises ConfigurationError."""
    certificate, key = settings.server.tls_cert, settings.server.tls_key
    if certificate is None or key is None:
        return None
    return Certificates(certificate.expanduser(), key.expanduser())


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """Return who is believed what it says of clients."""
    return TrustedProxies(
        networks=[parse_network(text) for text in settings.server.trusted_proxies],
        headers=settings.server.proxy_headers,
    )


def host_policy(settings: Settings) -> HostPolicy:
    """Return the names by which browsers may reach us: this machine's own is one."""
    return HostPolicy(names=(socket.gethostname(), *settings.server.allowed_hosts))


def connection_limits(settings: Settings) -> ConnectionLimits:
    """Return what one connection may do."""
    server = settings.server
    return ConnectionLimits(
        header_timeout_s=server.header_timeout_s,
        write_timeout_s=server.write_timeout_s,
        max_line_bytes=server.max_request_line_bytes,
        max_header_bytes=server.max_header_bytes,
        max_headers=server.max_headers,
    )


def crowd_limits(settings: Settings) -> CrowdLimits:
    """Return how many connections there may be: no more than there may be open files for."""
    proxies, wanted = trusted_proxies(settings), settings.server.max_connections
    possible = max(
        1, file_limits().connections - (wyoming_clients() if settings.wyoming.uri else 0)
    )
    return CrowdLimits(
        most=possible if wanted == "auto" else min(wanted, possible),
        most_per_client=settings.server.max_connections_per_client,
        is_exempt=lambda address: proxies.trusts(parse_address(address)),
    )


def wyoming_clients() -> int:
    """Return how many of the connections that there may be can be Wyoming's."""
    return min(MAX_WYOMING_CLIENTS, max(1, file_limits().connections // 4))
