"""Alignment and diarization in a form."""

import pytest

from whisper_router.api.fields import Fields
from whisper_router.api.stages import WantedStages, parse_stages
from whisper_router.domain import SpeakerOptions
from whisper_router.errors import InvalidParameter


def parse(*fields: tuple[str, str], needed: bool = False) -> WantedStages:
    return parse_stages(Fields(fields), needs_speakers=needed)


@pytest.mark.parametrize(
    ("fields", "alignment"),
    [
        ([], ""),
        ([("align", "true")], "dtw"),
        ([("align", "false")], "none"),
        ([("alignment", " mine "), ("align", "true")], "mine"),
    ],
)
def test_an_alignment_has_a_name_or_is_wished_for(fields, alignment):
    assert parse(*fields).alignment == alignment


def test_the_engine_may_be_named():
    assert parse(("transcription", " mine ")).transcription == "mine"
    assert parse().transcription == ""


def test_nobody_asks_for_speakers_by_naming_some():
    """The SDKs may send them beside every format."""
    assert parse(("known_speaker_names[]", "ann")).speakers is None


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ([("diarize", "true")], False),
        ([("diarise_audio", "1")], False),
        ([("diarization", "channels")], False),
        ([], True),
    ],
)
def test_speakers_are_told_apart_on_demand(fields, needed):
    assert parse(*fields, needed=needed).speakers is not None


def test_all_that_is_known_of_speakers_is_passed_on():
    found = parse(
        ("diarize", "true"),
        ("diarization", "mine"),
        ("min_speakers", "2"),
        ("max_speakers", "3"),
        ("known_speaker_names[]", "ann"),
        ("known_speaker_names[]", "bob"),
        ("known_speaker_references[]", "data:a,b"),
        ("known_speaker_references[]", "data:c,d"),
    )
    assert found.speakers == SpeakerOptions(
        method="mine", min_speakers=2, max_speakers=3, names=("ann", "bob"), has_references=True
    )
    same = parse(("num_speakers", "2"), needed=True).speakers
    assert same == SpeakerOptions(min_speakers=2, max_speakers=2)


@pytest.mark.parametrize(
    ("fields", "needed", "param"),
    [
        ([("diarize", "perhaps")], False, "diarize"),
        ([("diarize", "false")], True, "diarize"),
        ([("diarize", "false"), ("diarization", "channels")], False, "diarize"),
        ([("min_speakers", "3"), ("max_speakers", "2")], True, "min_speakers"),
        ([("max_speakers", "0")], True, "max_speakers"),
        ([("num_speakers", "many")], True, "num_speakers"),
        ([("known_speaker_names", "a,b,c,d,e")], False, "known_speaker_names"),
        ([("known_speaker_names", "a,a")], False, "known_speaker_names"),
        ([("known_speaker_names[]", "a\nb")], False, "known_speaker_names"),
        ([("known_speaker_references[]", "data:a,b")], False, "known_speaker_references"),
        ([("align", "2")], False, "align"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, needed, param):
    with pytest.raises(InvalidParameter) as caught:
        parse(*fields, needed=needed)
    assert caught.value.param == param
