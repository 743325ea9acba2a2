"""HTTP to addresses that a client named, without a way into the operator's own network.

What a name resolves to is looked at when the connection is made, so that a second look-up with
another answer (DNS rebinding) is of no use. Every request has a connection and a session of its
own: nothing is carried from one host to another.
"""

import errno
import io
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from multidict import CIMultiDict
from yarl import URL

from whisper_router.audio.addresses import Reach, is_in, parse_address, parse_networks, reach
from whisper_router.errors import UrlRefused

USER_AGENT = "whisper-router"
MAX_URL_CHARACTERS = 4096
LOOPBACK = ("127.0.0.1", "::1")
CONNECT_FAILURES = (aiohttp.ClientError, TimeoutError, ConnectionError)
"""What a request may raise that is the other side's fault; see `reason_of`."""
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NOT_IN_A_URL = re.compile(r"[\x00-\x20\x7f\\]")

AddrInfo = tuple[int, int, int, str, tuple[str | int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundOptions:
    """Where requests may go besides public addresses.

    `allow_private` opens private, shared and loopback addresses. `allowed_hosts` holds names that
    may have such addresses, and addresses and networks (`10.0.0.0/8`) that are open whatever they
    are. Link-local, reserved and multicast addresses and the metadata services of clouds are open
    only when they are named as an address or a network.
    """

    allow_private: bool = False
    allowed_hosts: Sequence[str] = ()
    connect_timeout_s: float = 10.0


class Outbound:
    """Makes requests to public addresses, and to those that `options` allow. No proxy is used."""

    def __init__(self, options: OutboundOptions, resolver: AbstractResolver | None = None) -> None:
        """`resolver` takes the place of the system's.

        Raises:
            ConfigurationError: an allowed host is neither a name nor an address nor a network.
        """
        self._options, self._resolver = options, resolver
        self._networks, self._names = parse_networks(options.allowed_hosts)

    def check(self, url: str) -> URL:
        """Return the parsed address, if it is one to which a request may go as far as can be told.

        Nothing is looked up: what a name stands for is seen when the connection is made.

        Raises:
            UrlRefused: it is not.
        """
        if len(url) > MAX_URL_CHARACTERS or _NOT_IN_A_URL.search(url):
            raise UrlRefused("The address is too long, or holds a character that none may hold.")
        try:
            parsed = parse_url(url)
            host, port = parsed.raw_host, parsed.port
        except ValueError as error:
            raise UrlRefused("The address cannot be understood.") from error
        if parsed.scheme not in {"http", "https"}:
            raise UrlRefused("The address must begin with http:// or https://.")
        if "@" in parsed.raw_authority:
            raise UrlRefused("The address must not hold a user's name or a password.")
        if not host or not port:
            raise UrlRefused("The address does not name a host.")
        self._check_host(host)
        return parsed.with_fragment(None)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        data: bytes | None = None,
        idle_timeout_s: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request and yield the answer; a redirect is an answer like others.

        The time that all of it takes is the caller's to limit.

        Raises:
            UrlRefused: the address, or what it stands for, is not one to which a request may go.
            CONNECT_FAILURES: there was no answer.
        """
        checked = self.check(url)
        guard = _Guard(self, checked.raw_host or "", self._resolver or ThreadedResolver())
        connector = aiohttp.TCPConnector(
            resolver=guard,
            socket_factory=guard.open_socket,
            use_dns_cache=False,
            force_close=True,
        )
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._options.connect_timeout_s, sock_read=idle_timeout_s
        )
        jar = aiohttp.DummyCookieJar()
        sent = CIMultiDict({"User-Agent": USER_AGENT})
        sent.update(headers)
        async with (
            aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=timeout) as http,
            http.request(
                method,
                checked,
                headers=sent,
                data=None if data is None else io.BytesIO(data),
                allow_redirects=False,
            ) as response,
        ):
            yield response

    def allows(self, text: str, *, name: str) -> bool:
        """Return whether a connection to the address `text` may be made for the sake of a host."""
        address = parse_address(text)
        if address is None:
            return False
        if is_in(address, self._networks):
            return True
        match reach(address):
            case Reach.PUBLIC:
                return True
            case Reach.OWN:
                return self._options.allow_private or _plain(name) in self._names
            case Reach.CLOSED:
                return False

    def _check_host(self, host: str) -> None:
        if ":" in host or _NUMBER.fullmatch(_plain(host).rpartition(".")[2]):
            # 127.1, 0x7f000001 and the like are refused, whatever they stand for.
            if not self.allows(host, name=""):
                raise refused(host)
            return
        if not _NAME.fullmatch(_plain(host)):
            raise UrlRefused("The address does not name a host.")
        is_local = _plain(host).rpartition(".")[2] == "localhost"  # RFC 6761 6.3
        if is_local and not any(self.allows(text, name=host) for text in LOOPBACK):
            raise refused(host)


class _Guard(AbstractResolver):
    """Looks at the addresses of one request: those that a name has, and those of its sockets."""

    def __init__(self, outbound: Outbound, name: str, resolver: AbstractResolver) -> None:
        self._outbound, self._name, self._resolver = outbound, name, resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name that may be connected to."""
        found = await self._resolver.resolve(host, port, family)
        if not found:
            raise OSError(errno.ENOENT, "no address")
        allowed = [item for item in found if self._outbound.allows(item["host"], name=self._name)]
        if not allowed:
            raise refused(self._name)
        return allowed

    async def close(self) -> None:
        """Leave the resolver to its owner."""

    def open_socket(self, info: AddrInfo) -> socket.socket:
        """Make a socket for a connection; nothing is connected that has not come by here."""
        family, kind, protocol, _, address = info
        if not self._outbound.allows(str(address[0]), name=self._name):
            raise PermissionError(errno.EACCES, "an address that is not allowed")
        return socket.socket(family, kind, protocol)


def parse_url(text: str) -> URL:
    """Return an address as it stands: another spelling may not fit a signature that is in it.

    Raises:
        ValueError: it cannot be understood.
    """
    return URL(text, encoded=text.isascii())


def refused(host: str) -> UrlRefused:
    """Return the error for a host to which no request may go; it does not tell what it resolved to.

    Who asks could learn from that what names there are in the network.
    """
    return UrlRefused(
        f"The host '{host[:100]}' has no public address in its usual form, and the server's "
        "settings do not allow it."
    )


def reason_of(error: Exception) -> str:
    """Return why there was no answer, without an address or anything that was sent."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the name of the host could not be resolved"
        case aiohttp.ClientConnectorCertificateError():
            return "the host's certificate is not valid"
        case aiohttp.ClientSSLError():
            return "no secure connection could be made"
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return "no connection could be made"
        case TimeoutError():
            return "there was no answer in time"
        case aiohttp.InvalidURL():
            return "the address cannot be used"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
    return "the connection was closed too early"


def _plain(name: str) -> str:
    return name.lower().removesuffix(".")
