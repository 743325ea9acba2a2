"""Which addresses are public, the operator's own, or nobody's business."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_router.audio.addresses import Reach, is_in, parse_address, parse_networks, reach
from whisper_router.errors import ConfigurationError

PUBLIC = "8.8.8.8 1.1.1.1 192.0.1.1 172.32.0.1 2606:4700::1111 2a00:1450:4001::1 64:ff9b::808:808"
OWN = (
    "10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 127.9.9.9 100.64.0.1 198.18.0.1 ::1 "
    "fc00::1 fd12:3456::1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1::1 2002:c0a8:1::1"
)
CLOSED = (
    "0.0.0.0 0.1.2.3 169.254.169.254 169.254.1.1 100.100.100.200 168.63.129.16 192.0.0.192 "
    "192.0.2.1 198.51.100.1 203.0.113.1 192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1 "
    "255.255.255.255 :: fe80::1 fec0::1 ff02::1 fd00:ec2::254 fd20:ce::254 ::7f00:1 "
    "::ffff:0:7f00:1 64:ff9b:1::7f00:1 100::1 2001::1 2001:db8::1 3fff::1 5f00::1 4000::1 "
    "::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 2606:4700::5efe:a9fe:a9fe "
    "fe80::5efe:808:808"
)
CASES = [
    (text, kind)
    for kind, texts in ((Reach.PUBLIC, PUBLIC), (Reach.OWN, OWN), (Reach.CLOSED, CLOSED))
    for text in texts.split()
]


@pytest.mark.parametrize(("text", "kind"), CASES)
def test_an_address_is_of_one_kind(text: str, kind: Reach):
    """In all the forms that IPv6 has for IPv4, too."""
    assert reach(ip_address(text)) is kind


@pytest.mark.parametrize("interface", ["0:5efe", "200:5efe"])
def test_a_tunnel_to_a_private_address_is_not_public(interface: str):
    """ISATAP: the last half of a public address says where it goes."""
    assert reach(ip_address(f"2606:4700:0:0:{interface}:a00:1")) is Reach.OWN


@given(st.integers(0, 2**32 - 1))
def test_every_form_of_an_address_of_ipv4_is_of_its_kind(number: int):
    """Mapped, NAT64 and 6to4."""
    kind = reach(IPv4Address(number))
    forms = (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80)
    assert [reach(IPv6Address(form)) for form in forms] == [kind] * 3


@given(st.integers(0, 2**128 - 1))
def test_what_is_public_is_global(number: int):
    """The standard library's opinion is never overruled in favour of an address."""
    address = IPv6Address(number)
    assert reach(address) is not Reach.PUBLIC or address.is_global


def test_only_the_usual_form_is_an_address():
    """What other programs understand as one, in their ways, is none here."""
    assert parse_address("10.0.0.1") == IPv4Address("10.0.0.1")
    odd = ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01", "fe80::1%eth0", "[::1]"]
    assert [parse_address(text) for text in [*odd, "127.0.0.1.", "", "localhost"]] == [None] * 10


def test_networks_and_names_are_told_from_each_other():
    """Names lose their case and their last dot."""
    networks, names = parse_networks(["10.0.0.0/8", "192.168.1.7", "fd00::/8", "NAS.Lan."])
    assert networks == [ip_network("10.0.0.0/8"), ip_network("192.168.1.7"), ip_network("fd00::/8")]
    assert names == {"nas.lan"}
    assert is_in(ip_address("::ffff:10.9.9.9"), networks)
    assert not is_in(ip_address("11.0.0.1"), networks)


@pytest.mark.parametrize("host", ["10.0.0.0/99", "http://nas", "nas:80", "", "a b"])
def test_a_host_that_is_neither_is_an_error_of_the_configuration(host: str):
    """And says which it is."""
    with pytest.raises(ConfigurationError, match="no host, address or network"):
        parse_networks([host])
