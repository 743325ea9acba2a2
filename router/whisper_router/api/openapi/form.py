"""The fields of the audio routes' forms. Limits, choices and defaults are the code's own. Pure."""

from collections.abc import Iterable, Sequence

from whisper_router.api.chunking import MAX_VAD_MS
from whisper_router.api.fields import UNITS_S
from whisper_router.api.forms import (
    GRANULARITIES,
    MAX_BATCH,
    MAX_DECODERS,
    MIN_INCREMENT,
    Granularity,
    Included,
    ResponseFormat,
    ResponseOptions,
)
from whisper_router.api.openapi import form_stages
from whisper_router.api.openapi.parts import (
    FormField,
    Json,
    array,
    boolean,
    integer,
    number,
    one_of,
    ref,
    text,
)
from whisper_router.api.recognise import DEFAULT_MODEL
from whisper_router.domain import OnError, Task
from whisper_router.languages import LANGUAGES

MODEL = text(
    "An alias of the configuration, a preset of the catalogue, or an OpenAI name, which means the "
    "default model.",
    example=DEFAULT_MODEL,
)
LANGUAGE: Json = {
    "description": "Language of the speech: a code (`de`, `deu`, `de-AT`) or its English name. "
    "Detected when absent or `auto`; `mixed` detects it for each chunk.",
    "anyOf": [
        {"type": "string", "enum": ["auto", "mixed", *sorted(LANGUAGES)]},
        {"type": "string"},
    ],
    "example": "en",
}
RESPONSE_FORMAT = one_of(
    ResponseFormat, "How the transcript is written down.", ResponseOptions().response_format
)
ADDRESS = text(
    "Address of the audio, in the place of a file: http or https, fetched by the server. Private "
    "addresses are refused unless the operator has opened them.",
    format="uri",
)


def common() -> Sequence[FormField]:
    """Return what transcriptions and translations have in common, besides the file."""
    return [
        FormField(name="model", schema=MODEL),
        FormField(name="url", schema=ADDRESS, aliases=["audio_url"]),
        FormField(name="language", schema=LANGUAGE),
        FormField(
            name="prompt",
            schema=text("Style and spelling of the text; the last 224 tokens count."),
        ),
        *_shape(),
        *_decoding(),
        *_speech(),
        *_handling(),
        *webhook(),
    ]


def transcription() -> Sequence[FormField]:
    """Return what only transcriptions have."""
    return [
        FormField(
            name=GRANULARITIES,
            schema=array(
                one_of(Granularity, "A kind of time stamp."),
                "What is stamped with times, with `verbose_json` and `vtt_json`. Absent: segments.",
            ),
        ),
        FormField(
            name="include[]",
            schema=array(
                one_of(Included, "What to add."),
                "`logprobs`: the log probability of each token. `verbose_json` (ours): the last "
                "event of a stream has that object, by the granularities, as `verbose_json`.",
            ),
        ),
    ]


def job() -> Sequence[FormField]:
    """Return what only `POST /v1/jobs` has."""
    return [
        FormField(name="task", schema=one_of(Task, "What to do.", Task.TRANSCRIBE)),
    ]


def webhook() -> Sequence[FormField]:
    """Return whom to tell of a job's end."""
    return [
        FormField(
            name="webhook",
            schema={
                "description": "Who is told of the job's end: an address, or an object (in a form: "
                "as JSON). Of use for jobs.",
                "anyOf": [{"type": "string", "format": "uri"}, ref("Webhook")],
            },
            aliases=["webhook_url"],
        )
    ]


def form_schema(
    fields: Iterable[FormField], *, required: Sequence[str], file_part: str = "file"
) -> Json:
    """Return the schema of a multipart form with a file."""
    file = text(
        "Audio or video in any common container; the content decides, not the name. "
        "`audio/pcm` and `audio/L16` as the part's type are raw samples.",
        format="binary",
    )
    return {
        "type": "object",
        "required": list(required),
        "properties": {file_part: file} | {field.name: field.described for field in fields},
    }


def json_schema(fields: Iterable[FormField], *, required: Sequence[str]) -> Json:
    """Return the schema of the same as a JSON object; arrays have no brackets in their names."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {field.name.removesuffix("[]"): field.described for field in fields},
    }


def shaping() -> Sequence[FormField]:
    """Return what says how a transcript is written down."""
    return [*_shape(), *transcription()]


def chunking_schema() -> Json:
    """Return the object that `chunking_strategy` may be."""
    return {
        "type": "object",
        "description": "Voice activity detection, with values of one's own.",
        "required": ["type"],
        "additionalProperties": False,
        "properties": {
            "type": text("Always `server_vad`.", const="server_vad"),
            "threshold": number("From which probability on it is speech.", 0, 1),
            "prefix_padding_ms": integer("What is kept before speech.", 0, MAX_VAD_MS),
            "silence_duration_ms": integer("The silence that ends speech.", 0, MAX_VAD_MS),
        },
    }


def _speech() -> Sequence[FormField]:
    return [
        FormField(
            name="chunking_strategy",
            schema={
                "description": "`auto`: as configured. `none`: give the engine the whole file. "
                "`server_vad`: look for speech first, with these values. In a form the object is "
                "JSON, or `chunking_strategy[type]` and so on.",
                "anyOf": [
                    {"type": "string", "enum": ["auto", "none"]},
                    ref("ServerVadChunking"),
                ],
            },
        ),
        FormField(
            name="keywords[]",
            schema=array(
                {"type": "string", "pattern": "^[^<>\r\n]*$"}, "Words that are likely to occur."
            ),
        ),
        FormField(name="hotwords", schema=text("Like `keywords[]`, as a comma list.")),
        FormField(
            name="languages[]",
            schema=array(
                {"type": "string"}, "One is the language; of several, the language is detected."
            ),
        ),
        *form_stages.transcription(),
        *form_stages.speakers(),
        *form_stages.alignment(),
        FormField(
            name="vad",
            schema=boolean("Look for speech first. Wins over `chunking_strategy`."),
            aliases=["vad_filter"],
        ),
        FormField(
            name="context",
            schema=boolean(
                "Give each chunk the text before it as a prompt; chunks then run one after "
                "another. Absent: where the model has one worker."
            ),
        ),
    ]


def _handling() -> Sequence[FormField]:
    return [
        FormField(
            name="stream",
            schema=boolean(
                "Answer events as the text comes, with `json` and `text`; with `diarized_json` at "
                "the end."
            ),
        ),
        FormField(
            name="on_error",
            schema=one_of(
                OnError,
                "`skip`: a stretch that cannot be transcribed is marked instead of failing all.",
                OnError.FAIL,
            ),
        ),
        FormField(
            name="keep_alive",
            schema=text(
                "How long the engine stays loaded afterwards: seconds, or with a unit "
                f"({', '.join(UNITS_S)}). 0: not at all; negative: for ever.",
                example="5m",
            ),
        ),
        FormField(
            name="batch_size",
            schema=integer("No more of its chunks run at a time.", 1, MAX_BATCH),
        ),
        FormField(
            name="async",
            schema=boolean("Answer 202 with a job at once.", default=False),
        ),
    ]


def _shape() -> Sequence[FormField]:
    return [
        FormField(name="response_format", schema=RESPONSE_FORMAT),
        FormField(
            name="max_line_width",
            schema=integer("Subtitles: lines hold no more characters.", 1, 1000),
        ),
        FormField(
            name="max_line_count", schema=integer("Subtitles: a cue has no more lines.", 1, 10)
        ),
        FormField(
            name="max_words_per_line",
            schema=integer("Subtitles: a line holds no more words.", 1, 100),
        ),
        FormField(
            name="highlight_words",
            schema=boolean("Subtitles: a cue for each word, which is underlined."),
        ),
    ]


def _decoding() -> Sequence[FormField]:
    return [
        FormField(
            name="temperature",
            schema=number("0 or absent: raised by itself where decoding fails.", 0, 1),
        ),
        FormField(
            name="temperature_inc",
            schema={
                "description": "Step by which the temperature is raised; 0: never.",
                "anyOf": [
                    {"type": "number", "const": 0},
                    {"type": "number", "minimum": MIN_INCREMENT, "maximum": 1},
                ],
            },
            aliases=["temperature_increment"],
        ),
        FormField(name="beam_size", schema=integer("Beams.", 1, MAX_DECODERS)),
        FormField(
            name="best_of",
            schema=integer("Candidates at a temperature above 0.", 1, MAX_DECODERS),
        ),
        FormField(
            name="entropy_threshold",
            schema=number("Below it decoding counts as failed.", 0, 100),
            aliases=["entropy_thold"],
        ),
        FormField(
            name="logprob_threshold",
            schema=number("Below it decoding counts as failed.", -100, 0),
            aliases=["logprob_thold"],
        ),
        FormField(
            name="no_speech_threshold",
            schema=number("Above it a window counts as silence.", 0, 1),
            aliases=["no_speech_thold"],
        ),
        FormField(
            name="suppress_nst",
            schema=boolean("Suppress tokens that are not speech."),
            aliases=["suppress_non_speech"],
        ),
        FormField(
            name="suppress_numerals",
            schema=boolean("Write numbers as words; takes time for each token."),
        ),
    ]
