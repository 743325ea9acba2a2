"""The page's files over HTTP; what it does in a browser is tested in tests/whole."""

import re
from importlib.resources import files

import aiohttp
import pytest
from yarl import URL

from support.api_app import Api, Setup, Start
from whisper_router.api.deps import Dialect, DialectOptions
from whisper_router.api.key_source import FixedKeys
from whisper_router.api.ui import POLICY, TYPES, read_files

FILES = sorted(entry.name for entry in (files("whisper_router") / "ui").iterdir())
REFERENCES = re.compile(
    r"""(?m)(?:^import .*from |^} from |import\(|addModule\(|\bsrc=|\bhref=)"([^"#][^"]*)\""""
)


async def test_the_page_is_served_with_a_strict_policy(api: Api, http: aiohttp.ClientSession):
    """It may load from this server only, run nothing inline, and be framed by nobody."""
    async with http.get(f"{api.root}/ui/") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Permissions-Policy"].startswith("microphone=(self)")
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "<!doctype html>" in await answer.text()
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_as_what_it_is(api: Api, http: aiohttp.ClientSession, name: str):
    """A module of the wrong type would not be run."""
    async with http.get(f"{api.root}/ui/{name}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == TYPES[name.rpartition(".")[2]]
        assert await answer.read() == (files("whisper_router") / "ui" / name).read_bytes()


async def test_a_file_is_sent_once(api: Api, http: aiohttp.ClientSession):
    """Who has it is told so."""
    async with http.get(f"{api.root}/ui/style.css") as answer:
        tag = answer.headers["ETag"]
    async with http.get(f"{api.root}/ui/style.css", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
        assert await answer.read() == b""
        assert answer.headers["ETag"] == tag
    async with http.get(f"{api.root}/ui/style.css", headers={"If-None-Match": '"x"'}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "../api/ui.py",
        "..%2Fapi%2Fui.py",
        "%2e%2e/api/ui.py",
        "a/b",
        "__init__.py",
        ".",
        "nothing.js",
    ],
)
async def test_nothing_else_is_served(api: Api, http: aiohttp.ClientSession, path: str):
    """No way leads out of the directory."""
    url = URL(f"{api.root}/ui/{path}", encoded=True)
    async with http.get(url, allow_redirects=False) as answer:
        body = await answer.json() if answer.content_type == "application/json" else {}
        if path == ".":  # the client itself makes /ui/ of it, or the server finds no such file
            assert answer.status in {200, 404}
        else:
            assert answer.status == 404
            assert body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/ui", "/"])
async def test_browsers_are_sent_to_the_page(start: Start, http: aiohttp.ClientSession, path: str):
    """From the address that people type, with keys configured and none at hand."""
    async with start(Setup(keys=FixedKeys(["secret-of-sixteen"]))) as api:
        headers = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
        async with http.get(api.root + path, headers=headers) as answer:
            assert answer.status == 200
            assert answer.url.path == "/ui/"
            assert answer.headers["Content-Security-Policy"] == POLICY


async def test_programs_find_at_the_root_what_they_did(start: Start, http: aiohttp.ClientSession):
    """The description, with a key; the page's files say nothing about the server."""
    async with start(Setup(keys=FixedKeys(["secret-of-sixteen"]))) as api:
        async with http.get(api.root) as answer:
            assert answer.status == 401
        async with http.get(api.root, headers={"x-api-key": "secret-of-sixteen"}) as answer:
            assert (await answer.json())["name"] == "whisper-router"
        async with http.post(api.root, headers={"Accept": "text/html"}) as answer:
            assert answer.status == 401


async def test_post_at_the_root_stays_the_dialects(start: Start, http: aiohttp.ClientSession):
    """insanely-fast-whisper-api's clients post there, whatever they accept."""
    dialects = DialectOptions(enabled=frozenset({Dialect.INSANELY_FAST_WHISPER}))
    async with start(Setup(dialects=dialects)) as api:
        async with http.post(api.root, json={}, headers={"Accept": "text/html"}) as answer:
            assert answer.status in {400, 422}
        async with http.get(api.root, headers={"Accept": "text/html"}) as answer:
            assert answer.url.path == "/ui/"


def test_every_file_that_is_named_exists():
    """In the page, in modules, and nothing lies about that nobody asks for."""
    found = read_files()
    assert sorted(found) == FILES
    named = {"index.html"}
    for name, file in found.items():
        for reference in REFERENCES.findall(file.body.decode("utf-8")):
            if not reference.startswith(("../", "data:")):  # other pages of this server
                named.add(reference.removeprefix("./"))
                assert reference.removeprefix("./") in found, f"{name} names {reference}"
    assert named == set(found)


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_server(name: str):
    """But for addresses that are names (SVG's), and examples on loopback that people are shown."""
    text = (files("whisper_router") / "ui" / name).read_text(encoding="utf-8")
    outside = {url for url in re.findall(r"(?:https?|wss?)://[\w.-]+", text)}
    assert outside <= {"http://www.w3.org", "http://localhost", "http://127.0.0.1"}
    assert "innerHTML" not in text
    assert "eval(" not in text
    assert "localStorage" not in text or name == "theme.js"


def test_nothing_is_inline():
    """The policy forbids it: styles and scripts of the page are files."""
    text = (files("whisper_router") / "ui" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js")])
def test_modules_are_small(name: str):
    """As in Python: one thing each."""
    lines = (files("whisper_router") / "ui" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 300
    assert max(map(len, lines)) <= 120
