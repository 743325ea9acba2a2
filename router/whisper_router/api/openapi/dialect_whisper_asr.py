"""The part for whisper-asr-webservice's API. Pure."""

from whisper_router.api.deps import DialectOptions
from whisper_router.api.dialects.whisper_asr import FILE_PART, Output
from whisper_router.api.openapi import audio, form, form_stages
from whisper_router.api.openapi.parts import (
    ANY_TEXT,
    TEXT_TYPE,
    DialectPart,
    Json,
    Operation,
    answer,
    array,
    boolean,
    form_body,
    header_ref,
    integer,
    json_answer,
    number,
    one_of,
    query,
    record,
    ref,
    text,
)
from whisper_router.domain import Task
from whisper_router.languages import LANGUAGES

TAG = "whisper-asr-webservice"
SPEAKERS = ("diarize", "min_speakers", "max_speakers")


def part(_options: DialectOptions) -> DialectPart:
    """Return what the dialect adds."""
    return DialectPart(
        tag=TAG,
        description="For Bazarr and others: what is wanted is said in the query.",
        paths={
            "/asr": {"post": _transcription().to_json()},
            "/detect-language": {"post": _detection().to_json()},
        },
        schemas=_schemas(),
    )


def _transcription() -> Operation:
    ours = {field.name: field.schema for field in [*form.common(), *form_stages.speakers()]}
    return Operation(
        id="asrTranscribe",
        summary="What was said, as a file of plain text",
        tag=TAG,
        parameters=[
            *_common(),
            query("output", one_of(Output, "How it is written down.", Output.TXT)),
            query("task", one_of(Task, "What to do.", Task.TRANSCRIBE)),
            query("language", form.LANGUAGE),
            query("initial_prompt", ours["prompt"]),
            query("vad_filter", boolean("Look for speech first. Absent: as configured.")),
            query("word_timestamps", boolean("With `json`: words in each segment.")),
            *(query(name, ours[name]) for name in SPEAKERS),
            *audio.REQUEST_IDS,
        ],
        body=_file(),
        answers={
            200: answer(
                "The transcript, as `output` has it; `json` is an `AsrResult`.",
                {TEXT_TYPE: {"anyOf": [ANY_TEXT, ref("AsrResult")]}},
                {name: header_ref(name) for name in ("Asr-Engine", "Content-Disposition")},
            )
        },
        refusals=audio.REFUSALS - {403},
    )


def _detection() -> Operation:
    return Operation(
        id="asrDetectLanguage",
        summary="The language of the first speech",
        tag=TAG,
        parameters=[*_common(), *audio.REQUEST_IDS],
        body=_file(),
        answers={200: json_answer("AsrLanguage", "The language.")},
        refusals=audio.REFUSALS - {403},
    )


def _common() -> list[Json]:
    raw = boolean("`false`: the file is 16 kHz mono s16le samples without a header.", default=True)
    return [query("encode", raw), query("model", form.MODEL)]


def _file() -> Json:
    return form_body(form.form_schema([], required=[FILE_PART], file_part=FILE_PART))


def _schemas() -> Json:
    begin, end = number("Begin in seconds.", 0), number("End in seconds.", 0)
    word = {"word": text("With its leading space."), "start": begin, "end": end}
    probability = number("How sure it is.", 0, 1)
    segment = {
        "id": integer("From 0.", 0),
        "start": begin,
        "end": end,
        "text": text("With its leading space."),
        "words": array(ref("AsrWord"), "With `word_timestamps`."),
    }
    return {
        "AsrLanguage": record(
            "A language.",
            {
                "detected_language": text(
                    "Its English name.", enum=[*sorted(LANGUAGES.values()), "unknown"]
                ),
                "language_code": text("Its code; `und` where nobody speaks."),
                "confidence": probability,
            },
        ),
        "AsrResult": record(
            "The result of openai-whisper.",
            {
                "text": text("The whole text."),
                "segments": array(ref("AsrSegment"), "Its segments."),
                "language": text("A code; `und` where nobody speaks."),
            },
        ),
        "AsrSegment": record("A `Segment`, with words.", segment, optional=["words"]),
        "AsrWord": record("A word.", word | {"probability": probability}),
    }
