"""The page: what is in it, and what cannot be."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from whisper_router.api.deps import DialectOptions
from whisper_router.api.openapi.document import document
from whisper_router.api.openapi.page import POLICY, page
from whisper_router.api.openapi.style import CSS
from whisper_router.api.services import ServiceInfo

EMPTY = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Collects ids, links and tags, and fails when tags are not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.headings: list[int] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        if tag not in EMPTY:
            self._open.append(tag)
        if found.get("id"):
            self.ids.append(found["id"] or "")
        if tag == "a":
            self.links.append(found["href"] or "")
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def close(self) -> None:
        super().close()
        assert not self._open


def described(docs: str = "https://example.org/docs") -> dict:
    return document(ServiceInfo(name="router", version="1.2", docs=docs), DialectOptions())


@pytest.fixture(scope="module")
def read() -> Reader:
    reader = Reader()
    reader.feed(page(described()))
    reader.close()
    return reader


def test_every_operation_has_its_place(read: Reader):
    """By its operation id, which the index links to."""
    names = {
        operation["operationId"]
        for operations in described()["paths"].values()
        for operation in operations.values()
    }
    assert names <= set(read.ids)
    assert {f"#{name}" for name in names} <= set(read.links)


def test_links_lead_somewhere_and_ids_are_unique(read: Reader):
    """Within the page, to the document, and to the manual."""
    inside = {link[1:] for link in read.links if link.startswith("#")}
    assert inside <= set(read.ids)
    assert len(read.ids) == len(set(read.ids))
    outside = {link for link in read.links if not link.startswith("#")}
    assert outside == {"ui/", "openapi.json", "https://example.org/docs"}


def test_headings_and_landmarks_make_an_outline(read: Reader):
    """One first heading; none leaves out a level on the way down."""
    assert read.headings.count(1) == 1
    steps = zip(read.headings, read.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)
    assert {"header", "nav", "main", "section"} <= set(read.tags)


def test_nothing_is_run_or_loaded(read: Reader):
    """No scripts, no images, no style sheets from elsewhere."""
    assert not {"script", "img", "iframe", "form"} & set(read.tags)


def test_the_policy_names_this_style_sheet_and_nothing_else():
    """A browser applies it only if it is exactly what is in the page."""
    style = page(described()).partition("<style>")[2].partition("</style>")[0]
    assert style == CSS
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert "unsafe" not in POLICY


def test_what_is_in_the_document_is_no_markup():
    """Not even what an operator or a plugin names."""
    told = described(docs='https://example.org/"><script>alert(1)</script>')
    told["info"]["description"] = "<script>alert(2)</script>"
    assert "<script>" not in page(told)


def test_dialects_are_to_be_opened_in_the_index():
    """So that on a phone it is not longer than what most people look for."""
    index = page(described()).partition("<nav")[2].partition("</nav>")[0]
    always = re.sub(r"<details>.*?</details>", "", index, flags=re.DOTALL)
    assert "#createTranscription" in always
    assert "#asrTranscribe" not in always
    assert "#asrTranscribe" in index
