"""The part for the API of whisper.cpp's own server. Pure."""

from collections.abc import Sequence

from whisper_router.api.chunking import MAX_VAD_MS
from whisper_router.api.deps import DialectOptions
from whisper_router.api.dialects.whisper_cpp import NO_DTW, Written
from whisper_router.api.forms import MAX_DECODERS
from whisper_router.api.openapi import audio, form
from whisper_router.api.openapi.parts import (
    ANY_TEXT,
    JSON_TYPE,
    TEXT_TYPE,
    DialectPart,
    FormField,
    Json,
    Operation,
    answer,
    array,
    boolean,
    form_body,
    integer,
    number,
    one_of,
    record,
    ref,
    text,
)

TAG = "whisper.cpp"
TAKEN = (
    "url",
    "model",
    "language",
    "prompt",
    "hotwords",
    "temperature",
    "temperature_inc",
    "entropy_threshold",
    "logprob_threshold",
    "no_speech_threshold",
    "suppress_nst",
    "diarize",
    "keep_alive",
)
"""Fields of our form that its clients send, or have a use for."""


def part(_options: DialectOptions) -> DialectPart:
    """Return what the dialect adds."""
    refused = Operation(
        id="cppLoad",
        summary="Refused: models are named in each request",
        tag=TAG,
        answers={},
        refusals=[400],
    )
    return DialectPart(
        tag=TAG,
        description="What whisper.cpp's own server, `whisper-server`, answers.",
        paths={
            "/inference": {"post": _inference().to_json()},
            "/load": {"post": refused.to_json()},
        },
        schemas=_schemas(),
    )


def fields() -> Sequence[FormField]:
    """Return the fields of the form, besides the file."""
    switches = {
        "translate": "Answer in English.",
        "detect_language": "Tell the language only; what follows is not heard.",
        "no_timestamps": "No times in `verbose_json`.",
        "no_language_probabilities": "No detected language in `verbose_json`.",
        "vad": "Look for speech first. Absent: as configured.",
    }
    decoders = {"beam_size": "Beams.", "best_of": "Candidates at a temperature above 0."}
    speech = {
        "vad_speech_pad_ms": "With `vad`: what is kept before speech.",
        "vad_min_silence_duration_ms": "With `vad`: the silence that ends speech.",
    }
    return [
        FormField(
            name="response_format", schema=one_of(Written, "How it is written.", Written.JSON)
        ),
        *(FormField(name=name, schema=boolean(words)) for name, words in switches.items()),
        *(
            FormField(name=name, schema=integer(f"{words} -1 and 0: as usual.", -1, MAX_DECODERS))
            for name, words in decoders.items()
        ),
        FormField(
            name="max_len",
            schema=integer("The longest line of `srt` and `vtt`, in characters; 0: any.", 0),
        ),
        FormField(
            name="vad_threshold",
            schema=number("With `vad`: from which probability on it is speech.", 0, 1),
        ),
        *(
            FormField(name=name, schema=integer(words, 0, MAX_VAD_MS))
            for name, words in speech.items()
        ),
        *(
            FormField(name=name, schema=integer("0: anything else is refused.", 0, 0))
            for name in ("offset_t", "offset_n", "duration")
        ),
        *(field for field in form.common() if field.name in TAKEN),
    ]


def _inference() -> Operation:
    return Operation(
        id="cppInfer",
        summary="What was said, as whisper-server tells it",
        tag=TAG,
        description="The language is detected unless it is named. The other fields of "
        "`createTranscription` work, too, but for what is written otherwise here.",
        parameters=audio.REQUEST_IDS,
        body=form_body(form.form_schema(fields(), required=[])),
        answers={
            200: answer(
                "The transcript, as `response_format` has it.",
                {
                    JSON_TYPE: {"anyOf": [ref("CppVerbose"), ref("CppText")]},
                    TEXT_TYPE: ANY_TEXT,
                    "application/x-subrip": ANY_TEXT,
                    "text/vtt": ANY_TEXT,
                },
                audio.QUEUE_HEADERS,
            )
        },
        refusals=audio.REFUSALS,
    )


def _schemas() -> Json:
    lines = text("A line for each segment, with its leading space.")
    begin, end = number("Begin in seconds.", 0), number("End in seconds.", 0)
    probability = number("How sure it is.", 0, 1)
    told = {
        "task": text("`transcribe` or `translate`."),
        "language": text("Its English name, or `unknown`."),
        "duration": number("Length of the audio in seconds.", 0),
        "text": lines,
        "segments": array(ref("CppSegment"), "Its segments."),
        "detected_language": text("The English name, where it had to be found out."),
        "detected_language_probability": probability,
    }
    segment = {
        "id": integer("From 0.", 0),
        "text": text("With its leading space."),
        "start": begin,
        "end": end,
        "tokens": array({"type": "integer"}, "The tokens of the text."),
        "words": array(ref("CppWord"), "Its words."),
        "temperature": number("At which it was decoded."),
        "avg_logprob": number("Mean log probability of its tokens."),
        "no_speech_prob": number("Probability that nobody speaks."),
    }
    word = {
        "word": text("With the space before it."),
        "start": begin,
        "end": end,
        "t_dtw": integer(f"Always {NO_DTW}.", NO_DTW, NO_DTW),
        "probability": probability,
    }
    times = ("start", "end", "t_dtw")
    detected = ("duration", "detected_language", "detected_language_probability")
    return {
        "CppText": record("`json`.", {"text": lines}),
        "CppVerbose": record("`verbose_json`.", told, optional=detected),
        "CppSegment": record("A stretch of speech.", segment, optional=times),
        "CppWord": record("A word.", word, optional=times),
    }
