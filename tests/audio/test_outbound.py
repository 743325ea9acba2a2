"""Hostile addresses against a socket that really listens on loopback."""

import socket

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from support.blocking import no_blocking_calls
from support.hosts import Host, Names, raw_host, web_host
from whisper_router.audio.outbound import Outbound, OutboundOptions, reason_of
from whisper_router.errors import UrlRefused

NAMES = {
    "loop.test": [["127.0.0.1"]],
    "zero.test": [["0.0.0.0"]],
    "six.test": [["::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "private.test": [["10.0.0.1", "192.168.1.1"]],
    "meta.test": [["169.254.169.254"]],
    "odd.test": [["127.1"]],
    "hex.test": [["0x7f000001"]],
    "again.test": [["localhost"]],
    "zone.test": [["fe80::1%lo"]],
    "0x7f000001.test": [["127.0.0.1"]],
    "localhost": [["127.0.0.1"]],
    "localhost.": [["127.0.0.1"]],
    "loop.test.": [["127.0.0.1"]],
    "xn--bcher-kva.test": [["127.0.0.1"]],
}
HOSTILE = """
    http://127.0.0.1:{port}/
    http://127.1:{port}/
    http://127.0.1:{port}/
    http://2130706433:{port}/
    http://017700000001:{port}/
    http://0177.0.0.1:{port}/
    http://0x7f000001:{port}/
    http://0x7f.0.0.1:{port}/
    http://0X7F.1:{port}/
    http://127.0.0.1.:{port}/
    http://0:{port}/
    http://0.0.0.0:{port}/
    http://127.255.255.254:{port}/
    http://[::1]:{port}/
    http://[::]:{port}/
    http://[0:0:0:0:0:0:0:1]:{port}/
    http://[::ffff:127.0.0.1]:{port}/
    http://[::ffff:7f00:1]:{port}/
    http://[::ffff:0:127.0.0.1]:{port}/
    http://[::127.0.0.1]:{port}/
    http://[64:ff9b::127.0.0.1]:{port}/
    http://[64:ff9b:1::7f00:1]:{port}/
    http://[2002:7f00:1::]:{port}/
    http://[::1%lo]:{port}/
    http://[::1%25lo]:{port}/
    http://[fe80::1%25lo]:{port}/
    http://\uff11\uff12\uff17.0.0.1:{port}/
    http://①②⑦.0.0.1:{port}/
    http://127。0。0。1:{port}/
    http://%31%32%37.0.0.1:{port}/
    http://localhost:{port}/
    http://LOCALHOST.:{port}/
    http://ⓛocalhost:{port}/
    http://any.localhost:{port}/
    http://localhost%00.example:{port}/
    http://good.example@127.0.0.1:{port}/
    http://good.example:80@127.0.0.1:{port}/
    http://@127.0.0.1:{port}/
    http://@example.com/
    http://good.example\\@127.0.0.1:{port}/
    http://127.0.0.1:{port}\\@good.example/
    http://127.0.0.1:{port}#@good.example/
    http://127.0.0.1:{port}?@good.example/
    http://127.0.0.1\t:{port}/
    http://loop.test:{port}/
    http://LOOP.TEST.:{port}/
    http://zero.test:{port}/
    http://six.test:{port}/
    http://mapped.test:{port}/
    http://private.test:{port}/
    http://meta.test/latest/meta-data/
    http://odd.test:{port}/
    http://hex.test:{port}/
    http://again.test:{port}/
    http://zone.test:{port}/
    http://0x7f000001.test:{port}/
    http://bücher.test:{port}/
    https://127.0.0.1:{port}/
    https://loop.test:{port}/
    http://169.254.169.254/latest/meta-data/
    http://[fd00:ec2::254]/latest/meta-data/
    http://100.100.100.200/latest/meta-data/
    http://168.63.129.16/
    http://10.0.0.1/
    http://172.16.0.1/
    http://192.168.0.1/
    http://100.64.0.1/
    http://224.0.0.1/
    http://255.255.255.255/
    http://[fc00::1]/
    http://[ff02::1]/
    ftp://127.0.0.1:{port}/
    file:///etc/passwd
    gopher://127.0.0.1:{port}/_GET
    ws://127.0.0.1:{port}/
    http+unix://%2Frun%2Fdocker.sock/
    tcp://127.0.0.1:{port}/
    //127.0.0.1:{port}/
    127.0.0.1:{port}
    http:127.0.0.1:{port}/
    http:///127.0.0.1:{port}/
    http://
    http://127.0.0.1:99999/
    http://a..b:{port}/
""".strip().split("\n")


@pytest.fixture(autouse=True)
def _never_block():
    with no_blocking_calls():
        yield


@pytest.fixture
async def inside():
    """A host in the operator's network."""

    async def answer(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        await writer.drain()

    async with raw_host(answer) as host:
        yield host


async def get(outbound: Outbound, url: str) -> int:
    async with outbound.request("GET", url, headers={}) as response:
        return response.status


async def ask_once(host: Host) -> None:
    """Make the one connection that is allowed; earlier ones would be counted before it."""
    assert await get(Outbound(OutboundOptions(allow_private=True)), host.url) == 200


@pytest.mark.parametrize("form", [form.strip(" ") for form in HOSTILE])
async def test_a_hostile_address_is_never_connected_to(inside: Host, form: str):
    """Whether the host is written in an odd way or a name stands for it."""
    with pytest.raises(UrlRefused) as refusal:
        await get(Outbound(OutboundOptions(), Names(NAMES)), form.format(port=inside.port))
    assert refusal.value.status == 400
    assert refusal.value.envelope()["error"]["param"] == "url"
    await ask_once(inside)
    assert inside.connections == 1


@pytest.mark.both_loops
async def test_a_name_that_changes_its_address_is_looked_at_each_time(inside: Host):
    """DNS rebinding: 0.0.0.0 leads to loopback as well, and only 127.0.0.1 is allowed."""
    names = Names({"rebind.test": [["127.0.0.1"], ["0.0.0.0"]]})
    outbound = Outbound(OutboundOptions(allowed_hosts=["127.0.0.1"]), names)
    url = f"http://rebind.test:{inside.port}/"
    assert await get(outbound, url) == 200
    with pytest.raises(UrlRefused):
        await get(outbound, url)
    assert (inside.connections, len(names.asked)) == (1, 2)


async def test_what_is_looked_up_is_what_is_connected_to(inside: Host):
    """One look-up for one connection: there is no second one whose answer is not looked at."""
    names = Names({"rebind.test": [["0.0.0.0"], ["127.0.0.1"]]})
    outbound = Outbound(OutboundOptions(allowed_hosts=["127.0.0.1"]), names)
    with pytest.raises(UrlRefused):
        await get(outbound, f"http://rebind.test:{inside.port}/")
    assert (inside.connections, len(names.asked)) == (0, 1)


async def test_of_several_addresses_only_the_allowed_ones_are_tried(inside: Host):
    """The order does not matter."""
    names = Names({"both.test": [["0.0.0.0", "127.0.0.1", "::"]]})
    outbound = Outbound(OutboundOptions(allowed_hosts=["127.0.0.1"]), names)
    assert await get(outbound, f"http://both.test:{inside.port}/") == 200


@pytest.mark.both_loops
@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://[::ffff:7f00:1]:{port}/"])
async def test_no_socket_is_opened_even_if_the_address_was_not_checked(inside: Host, url: str):
    """What decides is the address of the socket itself."""

    class Trusting(Outbound):
        def check(self, url: str) -> URL:
            return URL(url)

    with pytest.raises(aiohttp.ClientConnectorError):
        await get(Trusting(OutboundOptions()), url.format(port=inside.port))
    assert inside.connections == 0


async def test_a_name_that_is_allowed_may_have_a_private_address(inside: Host):
    """Others that have the same address may not be used for it."""
    names = Names({"nas.lan": [["127.0.0.1"]], "nas.lan.": [["127.0.0.1"]], **NAMES})
    outbound = Outbound(OutboundOptions(allowed_hosts=["NAS.lan"]), names)
    assert await get(outbound, f"http://nas.lan:{inside.port}/") == 200
    assert await get(outbound, f"http://NAS.LAN.:{inside.port}/") == 200
    for host in ("loop.test", "127.0.0.1", "a.nas.lan"):
        with pytest.raises((UrlRefused, aiohttp.ClientConnectorDNSError)):
            await get(outbound, f"http://{host}:{inside.port}/")
    assert inside.connections == 2


@pytest.mark.parametrize(
    "options",
    [{"allow_private": True}, {"allowed_hosts": ["meta.test", "zero.test", "10.0.0.0/8"]}],
)
@pytest.mark.parametrize(
    "url",
    ["http://meta.test/", "http://169.254.169.254/", "http://zero.test/", "http://[fe80::1]/"],
)
async def test_metadata_services_stay_closed_when_private_addresses_are_open(options, url):
    """They are open only when their address is named."""
    with pytest.raises(UrlRefused):
        await get(Outbound(OutboundOptions(**options), Names(NAMES)), url)
    Outbound(OutboundOptions(allowed_hosts=["169.254.0.0/16"])).check("http://169.254.169.254/")


async def test_localhost_can_be_allowed(inside: Host):
    """By its name as well as by its address."""
    for options in ({"allowed_hosts": ["localhost"]}, {"allowed_hosts": ["127.0.0.0/8"]}):
        outbound = Outbound(OutboundOptions(**options), Names(NAMES))
        assert await get(outbound, f"http://localhost:{inside.port}/") == 200


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(inside: Host, code: int):
    """It is the caller who asks for the next address, and has it checked."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=code, headers={"Location": inside.url})

    async with web_host(handle) as host:
        assert await get(Outbound(OutboundOptions(allow_private=True)), host.url) == code
    assert inside.connections == 0


async def test_a_proxy_of_the_environment_is_not_used(inside: Host, monkeypatch):
    """It would make the connection, where nobody looks at the address."""
    monkeypatch.setenv("HTTP_PROXY", inside.url)
    monkeypatch.setenv("http_proxy", inside.url)
    outbound = Outbound(OutboundOptions(), Names({"public.test": [["127.0.0.1"]]}))
    with pytest.raises(UrlRefused):
        await get(outbound, "http://public.test/")
    assert inside.connections == 0


@pytest.mark.parametrize("path", ["/a%2Fb/%7Ec?d=%2F&e=%2f+%20", "/?", "/'(x)*;y,z?q=[1]"])
async def test_an_address_is_asked_for_as_it_was_written(path: str):
    """It may hold a signature that is made over its very characters."""
    seen = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    async with web_host(handle) as host:
        await get(Outbound(OutboundOptions(allow_private=True)), host.url + path)
        await get(Outbound(OutboundOptions(allow_private=True)), host.url + "/grüße?q=ü")
    assert seen == [path.removesuffix("?"), "/gr%C3%BC%C3%9Fe?q=%C3%BC"]


async def test_every_request_has_a_connection_and_no_past():
    """No cookie, no authorisation and no open connection is carried from one to the next."""
    seen = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((dict(request.headers), request.transport.get_extra_info("peername")))
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    async with web_host(handle) as host:
        outbound = Outbound(OutboundOptions(allow_private=True))
        async with outbound.request("GET", host.url, headers={"Authorization": "x"}):
            pass
        async with outbound.request("GET", host.url, headers={"user-agent": "mine"}):
            pass
    (first, peer), (second, other) = seen
    assert first["User-Agent"] == "whisper-router"
    assert second["User-Agent"] == "mine"
    assert not {"Cookie", "Authorization"} & set(second)
    assert peer != other


def test_what_cannot_be_an_address_is_refused_at_once():
    """Also what is only too long; a fragment is dropped, as it is nobody's business."""
    outbound = Outbound(OutboundOptions())
    assert str(outbound.check("https://example.com/a?b#c")) == "https://example.com/a?b"
    for url in ("https://example.com/" + "a" * 5000, "https://exa mple.com/", "https://a/\r\nX: y"):
        with pytest.raises(UrlRefused):
            outbound.check(url)


def test_a_refusal_does_not_tell_what_a_name_stands_for():
    """Who asks could learn what is in the network."""
    with pytest.raises(UrlRefused) as refusal:
        Outbound(OutboundOptions()).check("http://10.0.0.7/?token=secret")
    assert "secret" not in str(refusal.value)


async def test_a_name_that_nobody_knows_has_a_reason_of_its_own():
    """And no address in it."""
    with pytest.raises(aiohttp.ClientConnectorDNSError) as failure:
        await get(Outbound(OutboundOptions(), Names({})), "http://nobody.test/?token=secret")
    assert reason_of(failure.value) == "the name of the host could not be resolved"


async def test_nobody_listening_is_a_reason():
    """The port was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(aiohttp.ClientConnectorError) as failure:
            await get(Outbound(OutboundOptions(allow_private=True)), f"http://127.0.0.1:{port}/")
    assert reason_of(failure.value) == "no connection could be made"
