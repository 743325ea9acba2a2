"""The document as a page for people: HTML and CSS, nothing to load and nothing to run. Pure."""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any

from whisper_router.api.openapi.curl import example
from whisper_router.api.openapi.parts import ALSO_AT, DIALECT, Json
from whisper_router.api.openapi.style import CSS
from whisper_router.api.openapi.words import anchor, prose, type_words

_DIGEST = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy that the page is to be sent with."""


def page(document: Json) -> str:
    """Return the whole page."""
    title = escape(f"{document['info']['title']} {document['info']['version']}: API")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n<style>{CSS}</style>\n</head>\n'
        f'<body>\n<a class="skip" href="#content">Skip to the operations</a>\n'
        f"{_header(document, title)}{_index(document)}"
        f'<main id="content">\n{"".join(_main(document))}</main>\n</body>\n</html>\n'
    )


def _header(document: Json, title: str) -> str:
    info, more = document["info"], document["externalDocs"]
    return (
        f"<header>\n<h1>{title}</h1>\n{prose(info['description'])}"
        '<p><a href="ui/">Web page</a> · <a href="openapi.json">openapi.json</a> (OpenAPI 3.1) · '
        f'<a href="{escape(more["url"])}">{escape(more["description"])}</a></p>\n</header>\n'
    )


def _index(document: Json) -> str:
    parts = "".join(_group(document, tag) for tag in document["tags"])
    return (
        f'<nav aria-label="Operations">\n{parts}'
        '<p><a href="#errors">Errors</a> · <a href="#schemas">Schemas</a></p>\n</nav>\n'
    )


def _group(document: Json, tag: Json) -> str:
    """Return a tag's part of the index; those of other servers' APIs are to be opened."""
    name = f"<h2>{escape(tag['name'])}</h2>"
    listed = "".join(
        f'<li><a href="#{escape(operation["operationId"])}">{_method(method)} '
        f"<code>{escape(path)}</code></a></li>\n"
        for path, method, operation in _operations(document, tag["name"])
    )
    entries = f"<ul>\n{listed}</ul>\n"
    if DIALECT not in tag:
        return f"{name}\n{entries}"
    return f"<details>\n<summary>{name}</summary>\n{entries}</details>\n"


def _main(document: Json) -> Iterator[str]:
    for tag, words in _tags(document).items():
        name = anchor(f"tag {tag}")
        yield f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(tag)}</h2>\n'
        yield prose(words)
        for path, method, operation in _operations(document, tag):
            yield "".join(_operation(document, path, method, operation))
        yield "</section>\n"
    yield from _errors(document)
    yield '<section aria-labelledby="schemas">\n<h2 id="schemas">Schemas</h2>\n'
    for name, schema in document["components"]["schemas"].items():
        yield f'<article class="schema" id="{anchor("schema " + name)}">\n'
        yield f"<h3>{escape(name)}</h3>\n{prose(schema.get('description', ''))}"
        if not schema.get("properties"):
            yield f'<p class="note">{type_words(schema)}</p>\n'
        yield from _table(_rows(schema))
        yield "</article>\n"
    yield "</section>\n"


def _operation(document: Json, path: str, method: str, operation: Json) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<article class="operation" id="{name}" aria-labelledby="{name}-title">\n'
    yield f'<h3 id="{name}-title">{_method(method)} <code>{escape(path)}</code></h3>\n'
    yield f"<p>{escape(operation['summary'])}.</p>\n{prose(operation.get('description', ''))}"
    if also := operation.get(ALSO_AT):
        paths = ", ".join(f"<code>{escape(item)}</code>" for item in also)
        yield f'<p class="note">Also at {paths}.</p>\n'
    if not operation["security"]:
        yield '<p class="note">Needs no key.</p>\n'
    if parameters := operation.get("parameters"):
        yield "<h4>Parameters</h4>\n"
        yield from _table((item["name"], _place(item), item) for item in parameters)
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _body(document, kind, content["schema"])
    if "101" not in operation["responses"]:
        call = escape(example(path, method, operation))
        yield f'<h4>Example</h4>\n<pre tabindex="0"><code>{call}</code></pre>\n'
    answers = {
        status: found for status, found in operation["responses"].items() if "$ref" not in found
    }
    errors = sorted(operation["responses"].keys() - answers.keys())
    yield "<h4>Answers</h4>\n"
    yield "<dl>\n" if answers else ""
    for status, response in answers.items():
        yield _answer(f"<code>{status}</code>", response)
    yield "</dl>\n" if answers else ""
    links = ", ".join(f'<a href="#{anchor("error " + status)}">{status}</a>' for status in errors)
    yield f'<p class="note">Errors: {links}</p>\n</article>\n'


def _body(document: Json, kind: str, schema: Json) -> Iterator[str]:
    shown = _resolved(document, schema)
    rows = list(_rows(shown))
    yield f"<details open>\n<summary>Body: {escape(kind)}"
    yield f", {len(rows)} field{'' if len(rows) == 1 else 's'}</summary>\n"
    yield from _table(iter(rows))
    yield "</details>\n"


def _answer(name: str, response: Json) -> str:
    kinds = "; ".join(
        f"<code>{escape(kind)}</code>: {type_words(content['schema'])}"
        for kind, content in response.get("content", {}).items()
    )
    note = f'<p class="note">{kinds}</p>' if kinds else ""
    return f"<div><dt>{name}</dt><dd>{prose(response['description'])}{note}</dd></div>\n"


def _errors(document: Json) -> Iterator[str]:
    yield '<section aria-labelledby="errors">\n<h2 id="errors">Errors</h2>\n<dl>\n'
    for name, response in document["components"]["responses"].items():
        if not name.startswith("Error"):  # the same with a further key
            continue
        status = escape(name.removeprefix("Error"))
        yield _answer(f'<code id="{anchor("error " + status)}">{status}</code>', response)
    yield "</dl>\n</section>\n"


def _rows(schema: Json) -> Iterator[tuple[str, str, Json]]:
    required = schema.get("required", ())
    for name, item in schema.get("properties", {}).items():
        yield name, "required" if name in required else "", {"schema": item, **item}


def _table(rows: Iterator[tuple[str, str, Json]]) -> Iterator[str]:
    yield "<dl>\n"
    for name, note, item in rows:
        yield (
            f"<div><dt><code>{escape(name)}</code> "
            f'<span class="note">{escape(note)}</span></dt><dd>'
            f'{prose(item.get("description", ""))}<p class="note">{type_words(item["schema"])}</p>'
            "</dd></div>\n"
        )
    yield "</dl>\n"


def _place(parameter: Json) -> str:
    return f"in {parameter['in']}{', required' if parameter.get('required') else ''}"


def _operations(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield path, method, operation


def _tags(document: Json) -> dict[str, str]:
    return {tag["name"]: tag["description"] for tag in document["tags"]}


def _method(method: str) -> str:
    return f'<span class="method {method}">{method.upper()}</span>'


def _resolved(document: Json, part: Json) -> Json:
    if "$ref" not in part:
        return part
    found: Any = document
    for key in part["$ref"].removeprefix("#/").split("/"):
        found = found[key]
    return dict(found)
