"""Which addresses a request of a stranger may lead to. Pure."""

from collections.abc import Sequence
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from whisper_router.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Reach(Enum):
    """Who is behind an address."""

    PUBLIC = "public"
    OWN = "own"
    """The operator's machines: private, shared (RFC 6598) and loopback addresses."""
    CLOSED = "closed"
    """What no request has to do with: link-local, multicast, reserved, metadata of clouds."""


OWN = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "::1/128",
        "fc00::/7",
    )
)
# What `ipaddress` takes for global, or what lies in a network of OWN.
# IANA IPv4 and IPv6 special-purpose address registries; the clouds' documentation.
CLOSED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "100.100.100.200/32",  # metadata (Alibaba)
        "168.63.129.16/32",  # the host of a virtual machine (Azure)
        "169.254.0.0/16",  # link-local, and metadata (nearly everybody)
        "192.0.0.0/24",  # metadata (Oracle, in former times)
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "3fff::/20",
        "fd00:ec2::/32",  # metadata (Amazon)
        "fd20:ce::254/128",  # metadata (Google)
    )
)
GLOBAL_UNICAST = IPv6Network("2000::/3")  # RFC 4291 2.4
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1
ISATAP = frozenset({0x5EFE, 0x02005EFE})  # RFC 5214 6.1: before the address of IPv4


def parse_networks(hosts: Sequence[str]) -> tuple[Sequence[Network], frozenset[str]]:
    """Tell addresses and networks from names; names are in lower case and without a last dot.

    Raises:
        ConfigurationError: one is neither.
    """
    networks, names = [], set[str]()
    for host in hosts:
        try:
            networks.append(ip_network(host, strict=False))
        except ValueError as error:
            if not host or not set("/: ").isdisjoint(host):
                raise ConfigurationError(f"'{host}' is no host, address or network") from error
            names.add(host.lower().removesuffix("."))
    return networks, frozenset(names)


def parse_address(text: str) -> Address | None:
    """Return the address that `text` is in its usual form; None: it is none, or has a zone."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else address


def reach(address: Address) -> Reach:
    """Return who is behind an address, also when IPv6 carries one of IPv4."""
    if isinstance(address, IPv6Address):
        inner = carried(address)
        if inner is not None:
            return reach(inner)
        if address in GLOBAL_UNICAST:
            return _reach_of_unicast(address)
    elif address.is_global and not is_in(address, CLOSED):
        return Reach.PUBLIC
    return Reach.OWN if is_in(address, OWN) and not is_in(address, CLOSED) else Reach.CLOSED


def carried(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that is meant: mapped, NAT64 or 6to4."""
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Return whether one of the networks has the address, or the one of IPv4 that is meant."""
    inner = carried(address) if isinstance(address, IPv6Address) else None
    meant = address if inner is None else inner
    return any(address in network or meant in network for network in networks)


def _reach_of_unicast(address: IPv6Address) -> Reach:
    if not address.is_global or is_in(address, CLOSED):
        return Reach.CLOSED
    interface = int(address) & 0xFFFFFFFFFFFFFFFF
    if interface >> 32 in ISATAP:
        return reach(IPv4Address(interface & 0xFFFFFFFF))
    return Reach.PUBLIC
