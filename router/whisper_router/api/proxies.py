"""Who asks, and how: what a reverse proxy says of that, if it is one that is believed.

Anybody can write such headers, so only those of configured addresses count, and only one kind of
them: a proxy replaces or extends the kind that it knows and passes the other on as its client sent
it. https://www.rfc-editor.org/rfc/rfc7239 is `Forwarded`. What cannot be read is ignored.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from aiohttp import web

SCHEMES = frozenset({"http", "https"})
UNKNOWN = "unknown"
MAX_HOPS = 32
HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")
WITH_PORT = re.compile(r"\[(?P<v6>[^\]]+)\](?::\d+)?|(?P<v4>[\d.]+):\d+")
PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*(?=[;,]|$)')

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ProxyHeaders(StrEnum):
    """Which headers the trusted proxies write."""

    X_FORWARDED = "x-forwarded"
    FORWARDED = "forwarded"


@dataclass(frozen=True, slots=True)
class Hop:
    """What one proxy says of the connection that it took. `None`: nothing, or nothing readable."""

    address: Address | None
    scheme: str | None
    host: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedProxies:
    """The proxies that are believed: none, unless some are configured."""

    networks: Sequence[Network] = ()
    headers: ProxyHeaders = ProxyHeaders.X_FORWARDED

    def trusts(self, address: Address | None) -> bool:
        """Return whether what comes from this address is believed."""
        return address is not None and any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from. `address` is text, and `scheme` "http" or "https"."""

    address: str
    scheme: str
    host: str


ORIGIN = web.RequestKey("origin", Origin)
PROXIES = web.AppKey("proxies", TrustedProxies)


def client_address(request: web.Request) -> str:
    """Return the IP address of the client, as far as it is known for sure: "192.168.1.7"."""
    return origin(request).address


def scheme(request: web.Request) -> str:
    """Return how the client reached us: "http" or "https"."""
    return origin(request).scheme


def host(request: web.Request) -> str:
    """Return the name and port by which the client reached us, as `Host` has them."""
    return origin(request).host


def origin(request: web.Request) -> Origin:
    """Return where a request comes from."""
    found = request.get(ORIGIN)
    if found is None:
        found = request[ORIGIN] = _origin(request, request.app[PROXIES])
    return found


def parse_network(text: str) -> Network:
    """Return the network, or the single address. Raises ValueError, which says what is wrong."""
    return ipaddress.ip_network(text.strip())


def peer_address(peer: object) -> str:
    """Return the address of a socket's other end (`getpeername`)."""
    named = peer[0] if isinstance(peer, tuple) and peer else None
    address = parse_address(named) if isinstance(named, str) else None
    return UNKNOWN if address is None else str(address)


@lru_cache(1024)
def parse_address(text: str) -> Address | None:
    """Return an address with or without a port; None: it is none.

    An IPv4 address within an IPv6 one (`::ffff:192.0.2.1`) is that IPv4 address.
    """
    text = text.strip()
    ported = WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((ported["v6"] or ported["v4"]) if ported else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _origin(request: web.BaseRequest, proxies: TrustedProxies) -> Origin:
    transport = request.transport
    peer = peer_address(None if transport is None else transport.get_extra_info("peername"))
    found = Origin(peer, request.scheme, request.host)
    address = parse_address(peer)
    if not proxies.networks or not proxies.trusts(address):
        return found
    for hop in reversed(_hops(request, proxies.headers)):
        found = Origin(
            found.address if hop.address is None else str(hop.address),
            hop.scheme or found.scheme,
            hop.host or found.host,
        )
        if not proxies.trusts(hop.address):  # also when nobody can say who that was
            break
    return found


def _hops(request: web.BaseRequest, kind: ProxyHeaders) -> Sequence[Hop]:
    """Return what the proxies say, the nearest one's word last."""
    if kind is ProxyHeaders.FORWARDED:
        elements = _elements(",".join(request.headers.getall("Forwarded", ())))
        return [_hop(one.get("for"), one.get("proto"), one.get("host")) for one in elements]
    clients, schemes, hosts = (
        _listed(request, f"X-Forwarded-{name}") for name in ("For", "Proto", "Host")
    )
    last = len(clients) - 1
    if not clients:
        return [_hop(None, *(each[-1] if each else None for each in (schemes, hosts)))]

    def said(words: Sequence[str], place: int) -> str | None:
        """Return the word that belongs to a hop: many proxies keep only their own."""
        if len(words) == len(clients):
            return words[place]
        return words[-1] if words and place == last else None

    return [_hop(one, said(schemes, at), said(hosts, at)) for at, one in enumerate(clients)]


def _listed(request: web.BaseRequest, name: str) -> Sequence[str]:
    words = ",".join(request.headers.getall(name, ())).split(",")
    return [word.strip() for word in words if word.strip()][-MAX_HOPS:]


def _elements(text: str) -> Sequence[dict[str, str]]:
    """Return the parts of `Forwarded`; none of them if it cannot be read."""
    found: list[dict[str, str]] = [{}]
    position = 0
    while match := PAIR.match(text, position):
        name, quoted, token = match.groups()
        value = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        found[-1].setdefault(name.lower(), value)
        if text[match.end() : match.end() + 1] == ",":
            found.append({})
        position = match.end() + 1
    is_whole = position >= len(text)
    return found[-MAX_HOPS:] if is_whole else []


def _hop(client: str | None, scheme: str | None, host: str | None) -> Hop:
    said = (scheme or "").strip().lower()
    name = (host or "").strip()
    return Hop(
        address=parse_address(client) if client else None,
        scheme=said if said in SCHEMES else None,
        host=name if HOST.fullmatch(name) else None,
    )
