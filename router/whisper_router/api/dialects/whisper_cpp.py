"""whisper.cpp's own server: `POST /inference`, and why there is no `POST /load`."""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import hdrs, web

from whisper_router.api.body import leave_waiting
from whisper_router.api.deps import DEPS, DialectOptions
from whisper_router.api.fields import Fields, boolean, choice, integer, number
from whisper_router.api.formats import FORMATS, JSON_TYPE, TEXT_TYPE, Json, finite
from whisper_router.api.forms import Order, ResponseFormat
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import (
    Sent,
    named_url,
    order_of,
    reception,
    recognition,
    with_model,
)
from whisper_router.api.wire import encode_json, encode_text
from whisper_router.domain import LanguageDetected, Segment, Task, Transcript, TranscriptEvent
from whisper_router.errors import InvalidParameter
from whisper_router.languages import LANGUAGES
from whisper_router.live.words import words_in
from whisper_router.pipeline.progress import Stage
from whisper_router.pipeline.transcribe import collect

DETAILED = False
UNKNOWN = "unknown"
NO_DTW = -1
"""`t_dtw` of a word whose time was not found by aligning tokens with the audio."""
MAX_WIDTH = 1000
MAX_MS = 86_400_000
VAD_KEYS: Mapping[str, str] = {
    "vad_threshold": "threshold",
    "vad_speech_pad_ms": "prefix_padding_ms",
    "vad_min_silence_duration_ms": "silence_duration_ms",
}
"""What of its fields about speech detection is called in a `chunking_strategy`."""
OWN = frozenset(
    {"response_format", "translate", "stream", "async", "timestamp_granularities"}
    | {"beam_size", "best_of", "max_len", "max_line_width", "max_line_count"}
)
"""Fields that mean something else here than in our forms, or are put in anew."""


class Written(StrEnum):
    """How a transcript is written down."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"


CONTENT_TYPES: Mapping[Written, str] = {
    Written.JSON: JSON_TYPE,
    Written.TEXT: TEXT_TYPE,
    Written.SRT: "application/x-subrip; charset=utf-8",
    Written.VERBOSE_JSON: JSON_TYPE,
    Written.VTT: "text/vtt; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a form asks for; `fields` are the same in our own terms."""

    fields: Sequence[tuple[str, str]]
    written: Written
    task: Task
    only_language: bool
    has_times: bool
    tells_language: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A transcript with how sure its language is, if that had to be found out."""

    transcript: Transcript
    detected: LanguageDetected | None


def routes(_options: DialectOptions) -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.post("/inference", infer, expect_handler=leave_waiting),
        web.post("/load", load, expect_handler=leave_waiting),
    ]


@for_text
async def infer(request: web.Request) -> web.Response:
    """POST /inference."""
    async with reception(request, any_name=True) as received:
        upload = await received.incoming.complete()
        wish = understood(upload.fields)
        order = order_of(request, wish.fields, wish.task)
        sent = Sent(upload=upload, url=named_url(request, upload.fields))
        async with recognition(request.app[DEPS], order, sent, received.tracker) as events:
            heard = await _listen(events, order, only_language=wish.only_language)
        received.tracker.update(stage=Stage.DONE)  # to stop at the language is no failure
    rendering = request.app[DEPS].rendering
    return web.Response(
        body=await rendering.write(heard.transcript, _rendered, heard, wish, order),
        headers={hdrs.CONTENT_TYPE: CONTENT_TYPES[wish.written]},
    )


async def load(_request: web.Request) -> web.Response:
    """POST /load: refused, because a path from the network is nothing to run an engine with."""
    raise InvalidParameter(
        "Models are not loaded by their path here. Every request names its model (field 'model': "
        "an alias of the configuration, or a model of the catalogue), and it is loaded when it is "
        "asked for. A file becomes an alias with [models.NAME] path = ... and POST "
        "/v1/config/reload; POST /v1/processes/NAME/load loads one before anybody asks.",
        param="model",
        code="not_supported",
    )


def understood(fields: Sequence[tuple[str, str]]) -> Wish:
    """Return what a form asks for.

    Raises:
        InvalidParameter: a field has a value that makes no sense, or asks for a part of the audio.
    """
    form = Fields(fields)
    _refuse_parts(form)
    written = choice("response_format", form.text("response_format") or Written.JSON, Written)
    added = [
        *_decoders(form),
        *_line_width(form, written),
        *_speech(form),
        ("response_format", ResponseFormat(written.value).value),
    ]
    if written is Written.VERBOSE_JSON:
        added.append(("timestamp_granularities", "segment,word"))
    kept = [(name, value) for name, value in fields if name not in OWN]
    return Wish(
        fields=with_model([*kept, *added]),
        written=written,
        task=Task.TRANSLATE if _flag(form, "translate") else Task.TRANSCRIBE,
        only_language=_flag(form, "detect_language"),
        has_times=not _flag(form, "no_timestamps"),
        tells_language=not _flag(form, "no_language_probabilities"),
    )


def _flag(form: Fields, name: str) -> bool:
    return boolean(name, form.text(name)) or False


def _refuse_parts(form: Fields) -> None:
    """Let nobody believe that a part of the audio was transcribed when it was all of it."""
    for name in ("offset_t", "offset_n", "duration"):
        if integer(name, form.text(name), low=0, high=MAX_MS):
            raise InvalidParameter(
                f"'{name}' is not supported: the whole file is transcribed. Cut it first.",
                param=name,
                code="unsupported_value",
            )


def _decoders(form: Fields) -> Iterator[tuple[str, str]]:
    """Yield numbers of decoders but for -1 and 0, which mean the default."""
    for name in ("beam_size", "best_of"):
        text = form.text(name)
        if text is not None and (integer(name, text, low=-1, high=1000) or 0) > 0:
            yield name, text


def _line_width(form: Fields, written: Written) -> Iterator[tuple[str, str]]:
    """Yield how long subtitles may be; lines are always split between words."""
    length = integer("max_len", form.text("max_len"), low=0, high=1_000_000) or 0
    if written in {Written.SRT, Written.VTT} and 0 < length <= MAX_WIDTH:
        yield "max_line_width", str(length)
        yield "max_line_count", "1"


def _speech(form: Fields) -> Iterator[tuple[str, str]]:
    """Yield how to look for speech, where that is to be done in a way of its own."""
    given = {
        ours: number(name, form.text(name), low=0, high=60_000)
        for name, ours in VAD_KEYS.items()
        if form.text(name) is not None
    }
    if given and _flag(form, "vad"):
        chosen = {
            name: value if name == "threshold" else round(value or 0)
            for name, value in given.items()
        }
        yield "chunking_strategy", json.dumps({"type": "server_vad", **chosen})


async def _listen(
    events: AsyncGenerator[TranscriptEvent, None], order: Order, *, only_language: bool
) -> Heard:
    """Read the events; nothing after the language is read if that is all that is wanted."""
    found: list[LanguageDetected] = []

    async def wanted() -> AsyncGenerator[TranscriptEvent, None]:
        async for event in events:
            if isinstance(event, LanguageDetected):
                found.append(event)
            yield event
            if found and only_language:
                return

    transcript = await collect(wanted(), order.request)
    return Heard(
        transcript=transcript,
        detected=found[0] if found and order.request.language is None else None,
    )


def _rendered(heard: Heard, wish: Wish, order: Order) -> bytes:
    match wish.written:
        case Written.JSON:
            return encode_json({"text": _lines(heard.transcript)})
        case Written.TEXT:
            return encode_text(_lines(heard.transcript))
        case Written.VERBOSE_JSON:
            return encode_json(_verbose(heard, wish))
        case Written.SRT | Written.VTT:
            return FORMATS[order.response.response_format].render(heard.transcript, order.response)


def _lines(transcript: Transcript) -> str:
    """Return the text as that server does: a line for each segment, with its leading space."""
    return "".join(f"{segment.text}\n" for segment in transcript.segments if segment.text.strip())


def _verbose(heard: Heard, wish: Wish) -> Json:
    transcript = heard.transcript
    language = LANGUAGES.get(transcript.language or "", UNKNOWN)
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    body: Json = {
        "task": transcript.task.value,
        "language": language,
        "duration": finite(transcript.duration_s),
        "text": _lines(transcript),
        "segments": [
            _segment(number, segment, has_times=wish.has_times)
            for number, segment in enumerate(spoken)
        ],
    }
    if wish.only_language:
        del body["duration"]  # not all of the audio was looked at
    if heard.detected is not None and wish.tells_language:
        body["detected_language"] = LANGUAGES.get(heard.detected.code, UNKNOWN)
        body["detected_language_probability"] = finite(heard.detected.probability, digits=6)
    return body


def _segment(number: int, segment: Segment, *, has_times: bool) -> Json:
    times = {"start": finite(segment.start_s), "end": finite(segment.end_s)} if has_times else {}
    return {
        "id": number,
        "text": segment.text,
        **times,
        "tokens": list(segment.tokens),
        "words": list(_words(segment, has_times=has_times)),
        "temperature": finite(segment.temperature),
        "avg_logprob": finite(segment.avg_logprob, digits=6),
        "no_speech_prob": finite(segment.no_speech_prob, digits=6),
    }


def _words(segment: Segment, *, has_times: bool) -> Iterator[Json]:
    """Yield the words that the engine has stamped, with the space before them."""
    for word in words_in([segment], offset_s=0.0) if segment.words else ():
        times = {"start": finite(word.start_s), "end": finite(word.end_s), "t_dtw": NO_DTW}
        yield {
            "word": word.text,
            **(times if has_times else {}),
            "probability": finite(word.probability, digits=6),
        }
