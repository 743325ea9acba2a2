"""What is believed of proxies' headers, and of whom."""

import aiohttp
import pytest
from aiohttp import web

from support.api_app import Setup, Start
from support.arriving import arrived
from whisper_router.api.proxies import (
    PROXIES,
    ProxyHeaders,
    TrustedProxies,
    client_address,
    host,
    parse_address,
    parse_network,
    scheme,
)

TRUSTED = [parse_network(text) for text in ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")]


async def asked(headers, *, peer="127.0.0.1", kind=ProxyHeaders.X_FORWARDED, trusted=TRUSTED):
    """Return address, scheme and host of a request."""
    app = web.Application()
    app[PROXIES] = TrustedProxies(networks=trusted, headers=kind)
    sent = {"Host": "inner:8000", **headers}.items()
    return await arrived(
        lambda request: (client_address(request), scheme(request), host(request)),
        sent,
        app=app,
        peer=peer,
    )


FROM = "X-Forwarded-For"


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "127.0.0.1"),
        ({FROM: "192.0.2.7"}, "192.0.2.7"),
        ({FROM: "6.6.6.6, 192.0.2.7"}, "192.0.2.7"),
        ({FROM: "6.6.6.6, 192.0.2.7, 10.1.2.3"}, "192.0.2.7"),
        ({FROM: "10.9.9.9, 10.1.2.3"}, "10.9.9.9"),
        ({FROM: "192.0.2.7:5555"}, "192.0.2.7"),
        ({FROM: "[2001:db9::7]:5555"}, "2001:db9::7"),
        ({FROM: "::ffff:192.0.2.7"}, "192.0.2.7"),
        ({FROM: "192.0.2.7, nonsense"}, "127.0.0.1"),
        ({FROM: "192.0.2.7, nonsense, 10.1.2.3"}, "10.1.2.3"),
        ({FROM: ", ,"}, "127.0.0.1"),
        ({FROM: "x" * 5000}, "127.0.0.1"),
        ({"Forwarded": "for=6.6.6.6"}, "127.0.0.1"),
    ],
)
async def test_the_client_is_the_last_that_no_trusted_proxy_vouches_for(headers, address):
    assert (await asked(headers))[0] == address


@pytest.mark.parametrize("trusted", [[], TRUSTED[1:]])
async def test_nobody_else_is_believed(trusted):
    headers = {
        FROM: "192.0.2.7",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
    }
    assert await asked(headers, trusted=trusted) == ("127.0.0.1", "http", "inner:8000")
    assert (await asked(headers, peer="127.0.0.99"))[0] == "127.0.0.99"


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        ({"X-Forwarded-Proto": "https"}, ("https", "inner:8000")),
        ({"X-Forwarded-Proto": "HTTPS "}, ("https", "inner:8000")),
        ({"X-Forwarded-Proto": "gopher"}, ("http", "inner:8000")),
        ({"X-Forwarded-Host": "stt.example:8443"}, ("http", "stt.example:8443")),
        ({"X-Forwarded-Host": "a/b?<c>"}, ("http", "inner:8000")),
        (
            {FROM: "192.0.2.7, 10.1.2.3", "X-Forwarded-Proto": "https, http"},
            ("https", "inner:8000"),
        ),
        ({FROM: "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https"}, ("https", "inner:8000")),
        (
            {FROM: "6.6.6.6, 192.0.2.7", "X-Forwarded-Proto": "https, http"},
            ("http", "inner:8000"),
        ),
    ],
)
async def test_the_way_in_is_that_of_the_client(headers, seen):
    assert (await asked(headers))[1:] == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (
            'for="[2001:db9::7]:47011";proto=https;host=stt.example',
            ("2001:db9::7", "https", "stt.example"),
        ),
        ("For=6.6.6.6, for=192.0.2.7;Proto=HTTPS", ("192.0.2.7", "https", "inner:8000")),
        (
            "for=192.0.2.7;proto=https, for=10.1.2.3;proto=http",
            ("192.0.2.7", "https", "inner:8000"),
        ),
        ("for=_hidden;proto=https", ("127.0.0.1", "https", "inner:8000")),
        ("for=6.6.6.6, for=unknown, for=10.1.2.3", ("10.1.2.3", "http", "inner:8000")),
        ('for="un\\"closed', ("127.0.0.1", "http", "inner:8000")),
        ("for=192.0.2.7;;=;", ("127.0.0.1", "http", "inner:8000")),
        ("", ("127.0.0.1", "http", "inner:8000")),
    ],
)
async def test_forwarded_is_read_where_it_is_what_the_proxies_write(text, seen):
    sent = {"Forwarded": text, FROM: "6.6.6.6"}
    assert await asked(sent, kind=ProxyHeaders.FORWARDED) == seen


@pytest.mark.parametrize("text", ["10.0.0.1/8", "proxy.example", "", "300.1.1.1"])
def test_what_is_no_network_is_an_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_network(text)


def test_addresses_are_read_with_and_without_ports():
    assert str(parse_address(" [::1]:80 ")) == "::1"
    assert parse_address("unix:/run/x") is None


async def test_the_hint_at_the_right_url_uses_them(start: Start):
    headers = {"Host": "stt.example", "X-Forwarded-Proto": "https"}
    for trusted, url in ((TRUSTED, "https://stt.example/v1 "), ([], "http://stt.example/v1 ")):
        async with (
            start(Setup(proxies=TrustedProxies(networks=trusted))) as api,
            aiohttp.ClientSession() as http,
            http.get(f"{api.root}/x", headers=headers) as answer,
        ):
            assert url in (await answer.json())["error"]["message"]
