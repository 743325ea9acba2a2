"""Names by which browsers reach a server without keys."""

import asyncio

import aiohttp
import pytest

from support.api_app import Api, Setup, Start
from support.certificates import make_certificate
from support.rings import Keys, a_key, sent
from whisper_router.api.certificates import Certificates
from whisper_router.api.cors import CorsPolicy
from whisper_router.api.hosts import HostPolicy, is_browser
from whisper_router.api.proxies import TrustedProxies, parse_network

EVIL = "rebound.example.org:8000"
BROWSER = {"Accept-Language": "de,en;q=0.5", "User-Agent": "Mozilla/5.0"}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8000", "[::1]:8000", "[::1]", "192.168.1.5", "localhost:8000", "LOCALHOST.",
        "gpu-box:8000", "stt.lan", "stt.local.:80", "box.home.arpa", "host.docker.internal:1",
        "whisper.default.svc.cluster.local",
    ],
)  # fmt: skip
def test_what_nobody_can_have_on_the_internet_is_ours(host: str):
    assert HostPolicy().allows(host)


@pytest.mark.parametrize(
    "host",
    [
        EVIL, "localhost.evil.org", "127.0.0.1.nip.io", "a b", "", ":80", "[::1", "evil.org.",
        "evil.org:80:80", "user@evil.org", "x.arpa", ".", "..",
    ],
)  # fmt: skip
def test_everything_else_is_not(host: str):
    assert not HostPolicy().allows(host)


def test_names_can_be_configured():
    policy = HostPolicy(names=("stt.Example.org", "*.ts.net"))
    assert policy.allows("STT.example.org:8443")
    assert policy.allows("gpu.tail1.ts.net")
    assert not policy.allows("ts.net")
    assert not policy.allows("evilts.net")
    assert not policy.allows("a.stt.example.org")
    assert HostPolicy(names=("*",)).allows(EVIL)


@pytest.mark.parametrize(
    ("headers", "is_one"),
    [
        (BROWSER, True),
        ({"Origin": "http://a"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Accept-Language": ""}, True),
        ({"Accept-Language": "*"}, True),
        ({"Accept-Language": "*", "Sec-Fetch-Mode": "cors", "User-Agent": "node"}, False),
        ({"User-Agent": "curl/8.14.1", "Accept": "*/*"}, False),
        ({"User-Agent": "OpenAI/Python 3.0.0", "Accept": "application/json"}, False),
    ],
)
def test_browsers_are_told_from_programs(headers: dict[str, str], is_one: bool):
    """By what a page cannot leave out, not by the name that it may give itself."""
    assert is_browser(headers) is is_one


@pytest.mark.parametrize("path", ["/v1/models", "/v1/config", "/", "/ui/", "/health", "/nothing"])
async def test_a_page_that_has_rebound_its_name_reads_nothing(
    api: Api, http: aiohttp.ClientSession, path: str
):
    """What it asks for is its own origin's for the browser. Programs may use any name."""
    async with http.get(api.root + path, headers={**BROWSER, "Host": EVIL}) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (403, "host_not_allowed")
        assert "'rebound.example.org:8000'" in error["message"]
        assert "server.allowed_hosts" in error["message"]
    for headers in ({"Host": EVIL}, BROWSER):
        async with http.get(api.root + path, headers=headers) as answer:
            assert answer.status in {200, 404}


async def test_nor_does_it_do_anything(api: Api, http: aiohttp.ClientSession):
    """Its `Origin` is the same as its `Host`, like that of our own page."""
    headers = {**BROWSER, "Host": EVIL, "Origin": f"http://{EVIL}"}
    for path in ("/v1/config/reload", "/v1/processes/whisper-1/unload", "/v1/audio/transcriptions"):
        async with http.post(api.root + path, headers=headers) as answer:
            assert (await answer.json())["error"]["code"] == "host_not_allowed"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(f"{api.root}/v1/realtime", headers=headers)
    assert caught.value.status == 403


async def test_a_proxys_word_for_a_name_is_a_pages_word_too(
    start: Start, http: aiohttp.ClientSession
):
    """On this machine a page is where the trusted proxy is, and may write the same headers."""
    proxies = TrustedProxies(networks=[parse_network("127.0.0.1")])
    async with start(Setup(proxies=proxies)) as api:
        forwarded = {"X-Forwarded-For": "192.168.1.7", "X-Forwarded-Host": "localhost"}
        headers = {**BROWSER, **forwarded, "Host": EVIL}
        async with http.get(f"{api.root}/v1/models", headers=headers) as answer:
            assert answer.status == 403


async def test_a_name_of_ours_is_let_in(start: Start, http: aiohttp.ClientSession):
    """A page that is named in `cors_origins` reaches us by such a one, too."""
    hosts = HostPolicy(names=("stt.example.org",))
    cors = CorsPolicy(origins=("https://page.example",))
    async with start(Setup(hosts=hosts, cors=cors)) as api:
        for origin in ("http://stt.example.org", "https://page.example"):
            headers = {**BROWSER, "Host": "stt.example.org", "Origin": origin}
            async with http.get(f"{api.root}/v1/models", headers=headers) as answer:
                assert answer.status == 200


async def test_who_needs_a_key_needs_no_name(start: Start, http: aiohttp.ClientSession):
    """A page of another site has none, and is told so."""
    async with start(Setup(keys=Keys(a_key("laptop")))) as api:
        headers = {**BROWSER, "Host": EVIL}
        async with http.get(f"{api.root}/v1/models", headers=headers | sent("laptop")) as answer:
            assert answer.status == 200
        async with http.get(f"{api.root}/v1/models", headers=headers) as answer:
            assert answer.status == 401


async def test_tls_has_compared_the_name_already(start: Start, tmp_path):
    """A browser shows no page of a name that the certificate has not."""
    made = await asyncio.to_thread(make_certificate, tmp_path)
    certificates = await asyncio.to_thread(Certificates, made.certificate, made.key)
    connector = aiohttp.TCPConnector(ssl=False)
    async with (
        start(Setup(certificates=certificates)) as api,
        aiohttp.ClientSession(connector=connector) as http,
        http.get(f"{api.root}/v1/models", headers={**BROWSER, "Host": EVIL}) as answer,
    ):
        assert answer.status == 200
