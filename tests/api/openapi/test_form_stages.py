"""The described fields of stages against what is understood."""

import pytest

from whisper_router.api.fields import Fields
from whisper_router.api.openapi import form_stages
from whisper_router.api.openapi.parts import FormField
from whisper_router.api.stages import ALIGNED, MAX_SPEAKERS, NOT_ALIGNED, parse_stages
from whisper_router.errors import InvalidParameter

COUNTS = [item for item in form_stages.speakers() if "maximum" in item.schema]


@pytest.mark.parametrize("field", COUNTS, ids=lambda field: field.name)
def test_how_many_speakers_there_may_be(field: FormField):
    """Under each of the three names."""
    assert field.schema["maximum"] == MAX_SPEAKERS
    form = Fields([("diarize", "true"), (field.name, str(MAX_SPEAKERS))])
    assert parse_stages(form, needs_speakers=False).speakers
    beyond = Fields([("diarize", "true"), (field.name, str(MAX_SPEAKERS + 1))])
    with pytest.raises(InvalidParameter):
        parse_stages(beyond, needs_speakers=False)


def test_alignments_are_named_as_they_are_understood():
    """What `true` and `false` mean is told."""
    align = form_stages.alignment()[0]
    for value, name in (("true", ALIGNED), ("false", NOT_ALIGNED)):
        found = parse_stages(Fields([(align.name, value)]), needs_speakers=False)
        assert found.alignment == name
        assert f"`{name}`" in align.schema["description"]


def test_an_engine_is_named_as_it_is_understood():
    (field,) = form_stages.transcription()
    form = Fields([(field.name, field.schema["example"])])
    assert parse_stages(form, needs_speakers=False).transcription == "whispercpp"
