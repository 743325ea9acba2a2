"""The part for the API of whisperX API server: transcriptions and their states. Pure."""

from collections.abc import Sequence

from whisper_router.api.deps import DialectOptions
from whisper_router.api.dialects.whisperx import PREFIX, STATES
from whisper_router.api.dialects.whisperx_form import LONGEST_CHUNK_S, PASSED_ON
from whisper_router.api.forms import ResponseFormat
from whisper_router.api.openapi import audio, dialect_whisperx_ops, dialect_whisperx_schemas, form
from whisper_router.api.openapi.dialect_whisperx_ops import TAG
from whisper_router.api.openapi.parts import (
    ANY_TEXT,
    EVENTS,
    EVENTS_TYPE,
    JSON_TYPE,
    TEXT_TYPE,
    DialectPart,
    FormField,
    Json,
    Operation,
    Paths,
    answer,
    array,
    boolean,
    form_body,
    integer,
    json_answer,
    one_of,
    path_parameter,
    query,
    ref,
    text,
)
from whisper_router.domain import Task

NAMED = path_parameter("id", "The `X-Request-ID` of the request.", "lecture-7")
REFUSALS = audio.REFUSALS | {409}
VTT_TYPE = "text/vtt"


def part(options: DialectOptions) -> DialectPart:
    """Return what the dialect adds. All of it is described under `/whisperx`."""
    return DialectPart(
        tag=TAG,
        description="What whisperX API server answers. Its base URL here ends with "
        f"`{PREFIX}`; what only it has is also there without.",
        paths={
            **_creations(is_root=options.whisperx_root),
            **_states(),
            **dialect_whisperx_ops.paths(),
        },
        schemas=dialect_whisperx_schemas.schemas(),
    )


def fields(task: Task) -> Sequence[FormField]:
    """Return the fields of the form, besides the file."""
    ours = {field.name: field for field in form.common()}
    switches = {
        "highlight_words": "Subtitles: a cue for each word, which is underlined.",
        "async": "Answer 202 at once; the result is asked for later.",
        "stream": "Accepted: answers are not streamed.",
    }
    usual = [
        FormField(name="audio_url", schema=form.ADDRESS, aliases=["url"]),
        FormField(name="model", schema=form.MODEL),
        FormField(name="response_format", schema=form.RESPONSE_FORMAT),
        *(FormField(name=name, schema=boolean(words)) for name, words in switches.items()),
        FormField(
            name="callback_url", schema=text("Who is told of the end: an address.", format="uri")
        ),
        FormField(
            name="chunk_size",
            schema=integer("Accepted: chunks are as long as they need be.", 1, LONGEST_CHUNK_S),
        ),
        *(
            ours[name]
            for name in ours
            if name in PASSED_ON and name not in {"min_speakers", "max_speakers"}
        ),
    ]
    return usual if task is Task.TRANSLATE else [*usual, *_only_transcriptions(ours)]


def _only_transcriptions(ours: dict[str, FormField]) -> Sequence[FormField]:
    kind: Json = {"type": "string", "enum": ["word", "segment"]}
    return [
        FormField(name="align", schema=boolean("Words in time.", default=True)),
        FormField(
            name="diarize", schema=boolean("Tell who says what; needs `align`.", default=False)
        ),
        ours["min_speakers"],
        ours["max_speakers"],
        FormField(
            name="speaker_embeddings",
            schema=boolean("Refused where it is true: nothing here computes them.", default=False),
        ),
        FormField(name="timestamp_granularities[]", schema=array(kind, "Checked, without effect.")),
    ]


def transcript_answer() -> Json:
    """Return a transcript in whatever format was asked for."""
    names = ("WhisperxVerbose", "DiarizedTranscription", "WhisperxText")
    content: dict[str, Json] = {
        JSON_TYPE: {"anyOf": [ref(name) for name in names]},
        TEXT_TYPE: ANY_TEXT,
        VTT_TYPE: ANY_TEXT,
    }
    return answer("The transcript, as `response_format` has it.", content, audio.QUEUE_HEADERS)


def _creations(*, is_root: bool) -> Paths:
    made = {}
    for task, name, words in (
        (Task.TRANSCRIBE, "transcriptions", "in the language of the speech"),
        (Task.TRANSLATE, "translations", "in English"),
    ):
        path = f"/v1/audio/{name}"
        schema = form.form_schema(fields(task), required=[])
        operation = Operation(
            id=f"whisperx{name.capitalize()}",
            summary=f"What was said, {words}, as whisperX tells it",
            tag=TAG,
            parameters=audio.REQUEST_IDS,
            body=form_body(schema),
            answers={200: transcript_answer(), 202: json_answer("WhisperxAccepted", "Accepted.")},
            refusals=REFUSALS,
            also_at=[path] if is_root else [],
        )
        made[f"{PREFIX}{path}"] = {"post": operation.to_json()}
    return made


def _states() -> Paths:
    chosen = one_of(ResponseFormat, "How it is written down. Absent: as in the request.")
    state = Operation(
        id="whisperxStatus",
        summary="How far a request is",
        tag=TAG,
        parameters=[NAMED],
        answers={200: json_answer("WhisperxStatus", "Its state.")},
        refusals=[400, 404],
        also_at=[f"{STATES}/status"],
    )
    events = Operation(
        id="whisperxEvents",
        summary="The state whenever it has changed, until it is an end",
        tag=TAG,
        parameters=[NAMED],
        answers={200: answer("Each event is a `WhisperxStatus`.", {EVENTS_TYPE: EVENTS})},
        refusals=[400, 404],
        also_at=[f"{STATES}/events"],
    )
    result = Operation(
        id="whisperxResult",
        summary="The transcript, in the format of the request or in any other",
        tag=TAG,
        description="Nothing runs again. A request that failed answers its error.",
        parameters=[
            NAMED,
            query("response_format", chosen),
            query("highlight_words", boolean("A cue for each word. Absent: as in the request.")),
        ],
        answers={200: transcript_answer()},
        refusals=REFUSALS - {403, 417},
        also_at=[f"{STATES}/result"],
    )
    return {
        f"{PREFIX}{STATES}/{name}": {"get": operation.to_json()}
        for name, operation in (("status", state), ("events", events), ("result", result))
    }
