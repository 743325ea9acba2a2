"""Transcriptions and translations. Pure."""

from collections.abc import Sequence

from whisper_router.api.context import SAFE_ID
from whisper_router.api.openapi import form
from whisper_router.api.openapi.parts import (
    EVENTS_TYPE,
    JSON_TYPE,
    TEXT_TYPE,
    FormField,
    Json,
    Operation,
    Paths,
    answer,
    array,
    form_body,
    header,
    header_ref,
    integer,
    number,
    record,
    ref,
    text,
)

TAG = "Audio"
PREFIX = "/v1"
REFUSALS = frozenset({400, 403, 404, 408, 410, 413, 417, 422, 429, 502, 504, 508})
ID_PATTERN = f"^{SAFE_ID.pattern}$"
QUEUE_HEADERS = {name: header_ref(name) for name in ("x-queue-position", "x-queue-time")}
JOB_OPERATIONS = (
    "showJob",
    "followJob",
    "showJobResult",
    "cancelJob",
    "deleteJob",
)
"""What can be asked of a job, by its id."""
REQUEST_IDS: Sequence[Json] = (
    header(
        "X-Progress-ID",
        text(
            "The id under which `/v1/progress/{id}` tells how far the request is.",
            pattern=ID_PATTERN,
        ),
    ),
    header("X-Request-ID", text("The same, if there is no other.", pattern=ID_PATTERN)),
)


def paths() -> Paths:
    """Return the operations."""
    transcription = Operation(
        id="createTranscription",
        summary="What was said, in the language of the speech",
        tag=TAG,
        description="The parts may come in any order. Arrays may be written `name[]`, `name`, "
        "`name[0]`, as a comma list or as JSON; booleans as `true`, `1`, `yes`, `on` and their "
        "opposites. Empty fields count as absent, unknown ones are ignored.\n\nA file, or a `url`.",
        parameters=REQUEST_IDS,
        body=body([*form.common(), *form.transcription()]),
        answers={200: transcript_answer(EVENTS_TYPE), 202: job_answer()},
        refusals=REFUSALS,
        also_at=["/audio/transcriptions"],
    )
    translation = Operation(
        id="createTranslation",
        summary="What was said, in English",
        tag=TAG,
        description="`language` is a hint about the speech, except `en`, which names the target "
        "and is ignored.\n\nA file, or a `url`.",
        parameters=REQUEST_IDS,
        body=body(form.common()),
        answers={200: transcript_answer(EVENTS_TYPE), 202: job_answer()},
        refusals=REFUSALS,
        also_at=["/audio/translations"],
    )
    return {
        f"{PREFIX}/audio/transcriptions": {"post": transcription.to_json()},
        f"{PREFIX}/audio/translations": {"post": translation.to_json()},
    }


def body(fields: Sequence[FormField]) -> Json:
    """Return the form of an audio route."""
    schema = form.form_schema(fields, required=["model"])
    return form_body(schema)


def transcript_answer(*further: str) -> Json:
    """Return a transcript in whatever format was asked for; `further` are types of plain text."""
    anything: Json = {"type": "string"}
    content: dict[str, Json] = {
        JSON_TYPE: {
            "anyOf": [
                ref("VerboseTranscription"),
                ref("DiarizedTranscription"),
                ref("Transcription"),
            ]
        },
        TEXT_TYPE: anything,
        **{kind: ref("TranscriptEvents") for kind in further},
    }
    return answer("The transcript, as `response_format` has it.", content, QUEUE_HEADERS)


def job_answer() -> Json:
    """Return the answer to what became a job."""
    job = answer("The job.", {JSON_TYPE: ref("Job")}, {"Location": header_ref("Location")})
    follow_up = {"parameters": {"id": "$response.body#/id"}}
    return job | {"links": {name: {"operationId": name, **follow_up} for name in JOB_OPERATIONS}}


def schemas() -> Json:
    """Return the schemas of transcripts."""
    usage: Json = {"anyOf": [ref("DurationUsage"), ref("TokenUsage")]}
    logprobs = array(ref("TokenLogprob"), "One per token, with `include[]=logprobs`.")
    holes = array(ref("Hole"), "Stretches that were skipped, with `on_error=skip`.")
    common = {"logprobs": logprobs, "usage": usage, "holes": holes}
    return {
        "ServerVadChunking": form.chunking_schema(),
        "Transcription": record(
            "`json`. A translation has no `usage`.",
            {"text": text("The whole text."), **common},
            optional=common,
        ),
        "VerboseTranscription": record(
            "`verbose_json`, and `vtt_json` with `vtt_text`.",
            {
                "task": text("`transcribe` or `translate`."),
                "language": text("English name in lower case; `unknown` if nobody spoke."),
                "duration": number("Length of the audio in seconds.", 0),
                "text": text("The whole text."),
                "segments": array(ref("Segment"), "With the granularity `segment`."),
                "words": array(ref("Word"), "With the granularity `word`."),
                "vtt_text": text("Subtitles, with `vtt_json`."),
                **common,
            },
            optional=["segments", "words", "vtt_text", *common],
        ),
        "DiarizedTranscription": record(
            "`diarized_json`: who says what.",
            {
                "task": text("Always `transcribe`.", const="transcribe"),
                "duration": number("Length of the audio in seconds.", 0),
                "text": text("A line for each turn, with its speaker."),
                "segments": array(ref("DiarizedSegment"), "The turns, in pieces."),
                "usage": usage,
                "holes": holes,
            },
            optional=["holes"],
        ),
        "TranscriptEvents": {  # of no type: each tool has its own idea of what events are
            "description": "Server-sent events: `transcript.text.delta` for each segment, one "
            "`transcript.text.done` with the whole text, or an `error`."
        },
        **_pieces(),
    }


def old_events() -> Json:
    """Return the schema of streams where they are those of faster-whisper-server."""
    words = "Server-sent events: each is a whole answer for one segment, in `response_format`."
    return {"TranscriptEvents": {"description": words}}


def _pieces() -> Json:
    begin, end = number("Begin in seconds.", 0), number("End in seconds.", 0)
    speaker = text("Who speaks, where speakers were told apart.")
    return {
        "Segment": record(
            "A stretch of speech.",
            {
                "id": integer("From 0.", 0),
                "seek": integer("Begin of its window in frames of 10 ms.", 0),
                "start": begin,
                "end": end,
                "text": text("With its leading space."),
                "tokens": array({"type": "integer"}, "The tokens of the text."),
                "temperature": number("At which it was decoded."),
                "avg_logprob": number("Mean log probability of its tokens."),
                "compression_ratio": number("High where the text repeats itself."),
                "no_speech_prob": number("Probability that nobody speaks."),
                "language": text("Code of its language, with `language=mixed`."),
                "speaker": speaker,
            },
            optional=["language", "speaker"],
        ),
        "DiarizedSegment": record(
            "What one speaker says.",
            {
                "type": text("As in a stream.", const="transcript.text.segment"),
                "id": text("From `seg_001`."),
                "start": begin,
                "end": end,
                "text": text("Without space around it."),
                "speaker": speaker,
            },
        ),
        "Word": record(
            "A word without the punctuation around it.",
            {"word": text("The word."), "start": begin, "end": end, "speaker": speaker},
            optional=["speaker"],
        ),
        "TokenLogprob": record(
            "A token.",
            {
                "token": text("Its text."),
                "logprob": number("Its log probability."),
                "bytes": array({"type": "integer"}, "Its UTF-8, whole characters or not."),
            },
        ),
        "Hole": record(
            "A stretch that no engine could transcribe.",
            {"start": begin, "end": end, "error": text("Why.")},
        ),
        **_usage(),
    }


def _usage() -> Json:
    return {
        "DurationUsage": record(
            "Usage by time.",
            {"type": text("Always `duration`.", const="duration"), "seconds": integer("Begun.", 1)},
        ),
        "TokenUsage": record(
            "Usage by tokens, in streams.",
            {
                "type": text("Always `tokens`.", const="tokens"),
                "input_tokens": integer("10 for each second of audio.", 0),
                "input_token_details": {"type": "object", "description": "Of which kind."},
                "output_tokens": integer("As the engine reports them.", 0),
                "total_tokens": integer("Both.", 0),
            },
        ),
    }
