"""Schemas and descriptions as HTML."""

import pytest

from whisper_router.api.openapi.words import anchor, prose, type_words


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "string"),
        ({"type": ["integer", "null"]}, "integer or null"),
        ({"type": "integer", "minimum": 1, "maximum": 8}, "integer, 1 to 8"),
        ({"type": "integer", "minimum": 0}, "integer, at least 0"),
        ({"enum": ["a", None]}, "one of <code>a</code>, <code>null</code>"),
        ({"const": "x", "type": "string"}, "<code>x</code>"),
        ({"type": "boolean", "default": False}, "boolean, default <code>false</code>"),
        ({"type": "array", "items": {"type": "string"}}, "array: string"),
        ({"type": "string", "format": "binary"}, "a file"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "string or null"),
        ({"$ref": "#/components/schemas/Job"}, '<a href="#schema-job">Job</a>'),
        ({}, "anything"),
    ],
)
def test_a_schema_in_words(schema: dict, words: str):
    """What a person wants to know of it."""
    assert type_words(schema) == words


def test_prose_has_paragraphs_and_code():
    """And nothing else of Markdown; what is special in HTML is text."""
    assert prose("Say `a < b`.\n\nOr not.") == (
        "<p>Say <code>a &lt; b</code>.</p>\n<p>Or not.</p>\n"
    )
    assert prose("") == ""


def test_anchors_are_plain():
    """Fit for an address."""
    assert anchor("schema Job List!") == "schema-job-list"
