"""The part for speaches' API. Pure."""

from whisper_router.api.deps import DialectOptions
from whisper_router.api.dialects.speaches import (
    LONGEST_S,
    MAX_MS,
    MIN_SILENCE_MS,
    NOT_OURS,
    SHORTEST_S,
    THRESHOLD,
    VAD_MODEL,
)
from whisper_router.api.dialects.speaches_models import ModelTask
from whisper_router.api.dialects.speaches_speakers import SpeakerFormat
from whisper_router.api.openapi import audio, form, form_stages, models
from whisper_router.api.openapi.parts import (
    ANY_TEXT,
    JSON_TYPE,
    TEXT_TYPE,
    DialectPart,
    FormField,
    Json,
    Key,
    Operation,
    Paths,
    answer,
    array,
    form_body,
    integer,
    json_answer,
    listing,
    number,
    one_of,
    path_parameter,
    query,
    record,
    ref,
    text,
)
from whisper_router.api.recognise import DEFAULT_MODEL

TAG = "speaches"
NAMED = path_parameter("id", "A model's name; it may hold slashes.", DEFAULT_MODEL)
STARTING = frozenset({400, 404, 409, 429, 502, 504})
NAMES = {
    "/v1/audio/speech": "Speech",
    "/v1/audio/speech/embedding": "Embedding",
    "/v1/chat/completions": "Chat",
    "/v1/realtime": "WebRtc",
}


def part(_options: DialectOptions) -> DialectPart:
    """Return what the dialect adds."""
    return DialectPart(
        tag=TAG,
        description="What speaches, once faster-whisper-server, has besides the OpenAI API. "
        "Loading, fetching and deleting are for administrators.",
        paths={
            **_lists(),
            "/v1/models/{id}": {
                "get": _shown().to_json(),
                "post": _download().to_json(),
                "delete": _deletion().to_json(),
            },
            "/api/ps": {"get": _loaded().to_json()},
            "/api/ps/{id}": {"post": _load().to_json(), "delete": _unload().to_json()},
            "/v1/audio/speech/timestamps": {"post": _speech().to_json()},
            "/v1/audio/diarization": {"post": _speakers().to_json()},
            **{path: {"post": _refused(path).to_json()} for path in NOT_OURS},
        },
        schemas=_schemas(),
    )


def _schemas() -> Json:
    begin, end = integer("Begin in milliseconds.", 0), integer("End in milliseconds.", 0)
    turn = {
        "start": number("Begin in seconds.", 0),
        "end": number("End in seconds.", 0),
        "speaker": text("Who speaks."),
    }
    return {
        "SpeachesModel": models.model(
            {
                "language": array(ANY_TEXT, "Codes of the languages that it knows."),
                "task": one_of(ModelTask, "What it is for."),
            }
        ),
        "SpeachesModelList": listing("SpeachesModel", "Models."),
        "SpeachesDetail": record("What was done.", {"detail": text("In a sentence.")}),
        "SpeachesLoaded": record("Loaded.", {"models": array(ANY_TEXT, "Models in memory.")}),
        "SpeachesNoModels": _nothing("models"),
        "SpeachesNoVoices": _nothing("voices"),
        "SpeachesSpeech": record("A stretch of speech.", {"start": begin, "end": end}),
        "SpeachesTurn": record("A turn.", turn),
        "SpeachesTurns": record(
            "Who speaks when.",
            {
                "duration": number("Length of the audio in seconds.", 0),
                "segments": array(ref("SpeachesTurn"), "The turns."),
            },
        ),
    }


def _nothing(name: str) -> Json:
    items = array({"type": "object"}, "None.", maxItems=0)
    return record("Nothing speaks.", {name: items, "object": text("Always.", const="list")})


def _lists() -> Paths:
    task = query("task", one_of(ModelTask, "What for.", ModelTask.SPEECH_RECOGNITION))
    listed = {
        "/v1/models": ("speachesListModels", "The models that may be named, by their task"),
        "/v1/registry": ("speachesRegistry", "All models that may be named, here or not"),
    }
    empty = {
        "/v1/audio/models": ("speachesVoiceModels", "Models that speak: none", "SpeachesNoModels"),
        "/v1/audio/voices": ("speachesVoices", "Voices: none", "SpeachesNoVoices"),
    }
    made = {
        path: Operation(
            id=name,
            summary=words,
            tag=models.TAG if path == "/v1/models" else TAG,
            parameters=[task],
            answers={200: json_answer("SpeachesModelList", "The models.")},
            refusals=[400],
        )
        for path, (name, words) in listed.items()
    } | {
        path: Operation(
            id=name, summary=words, tag=TAG, answers={200: json_answer(schema, "An empty list.")}
        )
        for path, (name, words, schema) in empty.items()
    }
    return {path: {"get": operation.to_json()} for path, operation in made.items()}


def _shown() -> Operation:
    return Operation(
        id="speachesModel",
        summary="One model, listed or not",
        tag=models.TAG,
        parameters=[NAMED],
        answers={200: json_answer("SpeachesModel", "The model.")},
        refusals=[404],
    )


def _download() -> Operation:
    return Operation(
        id="speachesDownload",
        summary="Fetch a model; answered once its file is here",
        tag=TAG,
        parameters=[NAMED],
        answers={
            200: answer("It was fetched.", {TEXT_TYPE: ANY_TEXT}),
            201: answer("It was here.", {TEXT_TYPE: ANY_TEXT}),
        },
        refusals=[404],
        key=Key.ADMIN,
    )


def _deletion() -> Operation:
    return Operation(
        id="speachesDelete",
        summary="Unload a model and delete its file; its name stays",
        tag=models.TAG,
        parameters=[NAMED],
        answers={200: json_answer("SpeachesDetail", "It is deleted.")},
        refusals=[403, 404, 409],
        key=Key.ADMIN,
    )


def _loaded() -> Operation:
    return Operation(
        id="speachesLoaded",
        summary="The models that are loaded",
        tag=TAG,
        answers={200: json_answer("SpeachesLoaded", "Their names.")},
    )


def _load() -> Operation:
    return Operation(
        id="speachesLoad",
        summary="Load a model; answered once it serves",
        tag=TAG,
        parameters=[NAMED],
        answers={201: json_answer("SpeachesDetail", "It is loaded.")},
        refusals=STARTING,
        key=Key.ADMIN,
    )


def _unload() -> Operation:
    return Operation(
        id="speachesUnload",
        summary="Unload a model; answered once its memory is back",
        tag=TAG,
        parameters=[NAMED],
        answers={200: json_answer("SpeachesDetail", "It is unloaded.")},
        refusals=[403, 404, 409],
        key=Key.ADMIN,
    )


def _speech() -> Operation:
    return Operation(
        id="speachesSpeech",
        summary="Where somebody speaks",
        tag=TAG,
        parameters=audio.REQUEST_IDS,
        body=form_body(form.form_schema(speech_fields(), required=[])),
        answers={
            200: answer(
                "The stretches, in order.",
                {JSON_TYPE: array(ref("SpeachesSpeech"), "Stretches.")},
            )
        },
        refusals=audio.REFUSALS,
    )


def speech_fields() -> list[FormField]:
    """Return the fields of the search for speech, besides the file."""
    lengths = {
        "min_speech_duration_ms": ("Shorter sounds are no speech.", 0),
        "min_silence_duration_ms": ("Shorter pauses end no stretch.", MIN_SILENCE_MS),
        "speech_pad_ms": ("So much is added on both sides.", 0),
    }
    longest: Json = {
        "description": "Longer stretches are cut at their last pause. `inf`: never.",
        "anyOf": [
            {"type": "number", "minimum": SHORTEST_S, "maximum": LONGEST_S},
            {"type": "string", "enum": ["inf"]},
        ],
    }
    probability = number("From which probability on it is speech.", 0, 1)
    return [
        FormField(name="url", schema=form.ADDRESS, aliases=["audio_url"]),
        FormField(name="model", schema=text("Always this one.", enum=[VAD_MODEL])),
        FormField(name="threshold", schema=probability | {"default": THRESHOLD}),
        FormField(
            name="neg_threshold",
            schema=number("Below which it ends: not above `threshold`.", 0, 1),
        ),
        *(
            FormField(name=name, schema=integer(words, 0, MAX_MS) | {"default": usual})
            for name, (words, usual) in lengths.items()
        ),
        FormField(name="max_speech_duration_s", schema=longest),
    ]


def _speakers() -> Operation:
    fields = [
        FormField(name="url", schema=form.ADDRESS, aliases=["audio_url"]),
        FormField(
            name="model", schema=text("A diarization that is installed; others mean the usual one.")
        ),
        FormField(name="response_format", schema=one_of(SpeakerFormat, "How.", SpeakerFormat.JSON)),
        *form_stages.speakers(),
    ]
    content = {JSON_TYPE: ref("SpeachesTurns"), TEXT_TYPE: ANY_TEXT}
    return Operation(
        id="speachesSpeakers",
        summary="Who speaks when",
        tag=TAG,
        description="Without what they say.",
        parameters=audio.REQUEST_IDS,
        body=form_body(form.form_schema(fields, required=[])),
        answers={200: answer("The turns.", content)},
        refusals=audio.REFUSALS,
    )


def _refused(path: str) -> Operation:
    return Operation(
        id=f"speachesNo{NAMES[path]}",
        summary="Refused: this server turns speech into text",
        tag=TAG,
        answers={},
        refusals=[501],
    )
