"""The described forms against what is understood."""

from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import pytest

from whisper_router.api.chunking import parse_chunking
from whisper_router.api.fields import Fields
from whisper_router.api.forms import parse_order
from whisper_router.api.job_order import webhook_of
from whisper_router.api.openapi import form
from whisper_router.api.openapi.parts import Json
from whisper_router.api.recognise import url_in
from whisper_router.domain import Task
from whisper_router.errors import InvalidParameter

FIELDS = {item.name: item for item in [*form.common(), *form.transcription()]}
DOCS = (Path(__file__).parents[3] / "docs/api.md").read_text("utf-8")
ELSEWHERE = {"async"}
"""Is read by the handlers themselves."""


def order(name: str, value: object):
    """Parse a form with one field; formats that the others need come with it."""
    more = [("response_format", "verbose_json")] if name != "response_format" else []
    if name == "stream":
        more = []
    return parse_order([("model", "m"), *more, (name, str(value))], task=Task.TRANSCRIBE)


def asked_for(*parsers) -> set[str]:
    """Return the names that the parsers look for in a form."""
    asked: set[str] = set()

    def noting(method):
        def look(self: Fields, *names: str):
            asked.update(names)
            return method(self, *names)

        return look

    with (
        patch.object(Fields, "text", noting(Fields.text)),
        patch.object(Fields, "mapping", noting(Fields.mapping)),
        patch.object(Fields, "values", noting(Fields.values)),
        patch.object(Fields, "words", noting(Fields.words)),
        patch.object(Fields, "phrases", noting(Fields.phrases)),
    ):
        for parse in parsers:
            parse()
    return asked


def test_every_field_that_is_understood_is_described():
    """Under each of its names, and no other is."""
    fields = [("model", "m"), ("response_format", "verbose_json")]
    asked = asked_for(
        lambda: parse_order(fields, task=Task.TRANSCRIBE),
        lambda: parse_order(fields, task=Task.TRANSLATE),
        lambda: parse_chunking(Fields(fields)),
        lambda: webhook_of(fields),
        lambda: url_in(fields),
    )
    described = {
        name.removesuffix("[]") for item in FIELDS.values() for name in (item.name, *item.aliases)
    }
    assert described - ELSEWHERE == asked


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_described_field_is_in_the_manual(name: str):
    """Both are written by hand, so one is held to the other."""
    assert f"`{name}" in DOCS


def limits() -> list[tuple[str, str, Json]]:
    return [
        (item.name, limit, item.schema)
        for item in FIELDS.values()
        for limit in ("minimum", "maximum")
        if limit in item.schema
    ]


@pytest.mark.parametrize(("name", "limit", "schema"), limits())
def test_limits_are_those_of_the_parser(name: str, limit: str, schema: Json):
    """The limit itself is accepted, what is beyond it is not."""
    value = schema[limit]
    order(name, value)
    with pytest.raises(InvalidParameter) as caught:
        order(name, value + (1 if limit == "maximum" else -1))
    assert caught.value.param == name


def choices() -> list[tuple[str, str]]:
    return [
        (item.name, value)
        for item in FIELDS.values()
        for value in item.schema.get("enum", item.schema.get("items", {}).get("enum", []))
    ]


@pytest.mark.parametrize(("name", "value"), choices())
def test_every_choice_is_accepted(name: str, value: str):
    """As the code's own enumerations have it."""
    order(name, value)


@pytest.mark.parametrize("name", [name for name, item in FIELDS.items() if "enum" in item.schema])
def test_no_other_choice_is(name: str):
    """An enumeration is complete."""
    with pytest.raises(InvalidParameter):
        order(name, "no-such-choice")


def test_too_many_speakers_are_refused_as_described():
    """Here the limit is the length of an array."""
    most = FIELDS["known_speaker_names[]"].schema["maxItems"]
    names: Sequence[tuple[str, str]] = [
        ("known_speaker_names[]", f"speaker {number}") for number in range(most + 1)
    ]
    parse_order([("model", "m"), *names[:most]], task=Task.TRANSCRIBE)
    with pytest.raises(InvalidParameter):
        parse_order([("model", "m"), *names], task=Task.TRANSCRIBE)


def test_json_has_the_same_names_without_brackets():
    """And no file."""
    body = form.json_schema(FIELDS.values(), required=["url"])
    whole = form.form_schema(FIELDS.values(), required=["model"])
    assert set(body["properties"]) | {"file"} == {
        name.removesuffix("[]") for name in whole["properties"]
    }
