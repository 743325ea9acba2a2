"""The fields of forms about what is done beside recognition: words in time, speakers. Pure."""

from collections.abc import Sequence

from whisper_router.api.openapi.parts import FormField, array, boolean, integer, text
from whisper_router.api.stages import (
    ALIGNED,
    ALIGNED_IF_POSSIBLE,
    MAX_KNOWN_SPEAKERS,
    MAX_SPEAKERS,
    NOT_ALIGNED,
)


def speakers() -> Sequence[FormField]:
    """Return what tells speakers apart."""
    return [
        FormField(
            name="diarize",
            schema=boolean("Tell who says what. Formats that need it ask for it themselves."),
            aliases=["diarise_audio"],
        ),
        FormField(
            name="diarization",
            schema=text(
                "How: `channels`, or the name of a plugin. Absent: as configured.",
                example="channels",
            ),
        ),
        *(
            FormField(
                name=name, schema=integer(f"{words}, as far as that can be used.", 1, MAX_SPEAKERS)
            )
            for name, words in (
                ("min_speakers", "How many speakers there are at least"),
                ("max_speakers", "How many there are at most"),
                ("num_speakers", "How many there are"),
            )
        ),
        FormField(
            name="known_speaker_names[]",
            schema=array({"type": "string"}, "Who may be heard.", maxItems=MAX_KNOWN_SPEAKERS),
        ),
        FormField(
            name="known_speaker_references[]",
            schema=array(
                {"type": "string"},
                "How they sound, as data URLs: as many as there are names.",
                maxItems=MAX_KNOWN_SPEAKERS,
            ),
        ),
    ]


def transcription() -> Sequence[FormField]:
    """Return what says which engine recognises."""
    return [
        FormField(
            name="transcription",
            schema=text(
                "The name of the engine that is expected: another one than the model's is "
                "refused. Absent: the model's.",
                example="whispercpp",
            ),
        ),
    ]


def alignment() -> Sequence[FormField]:
    """Return what puts words in time."""
    return [
        FormField(
            name="align",
            schema=boolean(f"Times of words: `true` means `{ALIGNED}`, `false` `{NOT_ALIGNED}`."),
        ),
        FormField(
            name="alignment",
            schema=text(
                f"Where they are from: `{ALIGNED}` (the engine), `{NOT_ALIGNED}`, "
                f"`{ALIGNED_IF_POSSIBLE}` (the engine, if it stamps words), or the name of a "
                "plugin. Wins over `align`.",
                example=ALIGNED,
            ),
        ),
    ]
