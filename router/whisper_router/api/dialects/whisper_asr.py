"""whisper-asr-webservice: `POST /asr` and `POST /detect-language`, for Bazarr and its like."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from enum import StrEnum
from urllib.parse import quote

from aiohttp import hdrs, web

from whisper_router.api.body import leave_waiting
from whisper_router.api.deps import DEPS, DialectOptions
from whisper_router.api.dialects.whisperx_form import named
from whisper_router.api.fields import Fields, boolean, choice
from whisper_router.api.formats import FORMATS, TEXT_TYPE, Json, finite, segment_body
from whisper_router.api.forms import Order, ResponseFormat
from whisper_router.api.model_access import models_of
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import (
    Reception,
    Sent,
    order_of,
    reception,
    recognised,
    recognition,
    with_model,
)
from whisper_router.api.subtitles import one_line
from whisper_router.api.wire import encode_json, encode_text, json_response
from whisper_router.audio.media import Encoding, PcmFormat
from whisper_router.domain import LanguageDetected, Segment, Task, Transcript
from whisper_router.languages import LANGUAGES
from whisper_router.live.words import words_in
from whisper_router.pipeline.progress import Stage

DETAILED = True
FILE_PART = "audio_file"
RAW = PcmFormat(encoding=Encoding.S16LE, rate_hz=16_000, channels=1)
UNDETERMINED, UNKNOWN = "und", "unknown"
"""The code (ISO 639-2) and the name of the language where nobody speaks."""
MAX_NAME = 150
UNSAFE = re.compile(r"[^A-Za-z0-9 !#$&+.^_`|~()\-]")
"""What a quoted file name in a header had better not hold."""
PASSED_ON: Mapping[str, str] = {
    "model": "model",
    "language": "language",
    "initial_prompt": "prompt",
    "vad_filter": "vad",
    "diarize": "diarize",
    "min_speakers": "min_speakers",
    "max_speakers": "max_speakers",
}
"""What parameters of the query are called in our forms."""


class Output(StrEnum):
    """How a transcript is written down."""

    TXT = "txt"
    VTT = "vtt"
    SRT = "srt"
    TSV = "tsv"
    JSON = "json"


SHAPES: Mapping[Output, ResponseFormat] = {
    Output.TXT: ResponseFormat.TEXT,
    Output.VTT: ResponseFormat.VTT,
    Output.SRT: ResponseFormat.SRT,
    Output.TSV: ResponseFormat.TSV,
    Output.JSON: ResponseFormat.VERBOSE_JSON,
}


def routes(_options: DialectOptions) -> Sequence[web.RouteDef]:
    """Return the routes."""
    return [
        web.post("/asr", transcribe, expect_handler=leave_waiting),
        web.post("/detect-language", detect_language, expect_handler=leave_waiting),
    ]


@for_text
async def transcribe(request: web.Request) -> web.Response:
    """POST /asr: the transcript as a file of plain text, whatever its format."""
    query = _query(request)
    output = choice("output", query.text("output") or Output.TXT, Output)
    task = choice("task", query.text("task") or Task.TRANSCRIBE, Task)
    order, pcm = order_of(request, _fields(query, output), task), _pcm(query)
    async with _received(request) as received:
        sent = await _sent(received, pcm)
        transcript = await recognised(request.app[DEPS], order, sent, received.tracker)
    name = (sent.upload.filename if sent.upload else None) or ""
    write = _WRITERS.get(output, as_usual)
    return web.Response(
        body=await request.app[DEPS].rendering.write(transcript, write, transcript, order),
        headers={
            hdrs.CONTENT_TYPE: TEXT_TYPE,
            hdrs.CONTENT_DISPOSITION: _attachment(f"{_base_name(name)}.{output}"),
            "Asr-Engine": await _engine(request, order),
        },
    )


@for_text
async def detect_language(request: web.Request) -> web.Response:
    """POST /detect-language: the language of the first speech; nothing after it is heard.

    Where nobody speaks it is `und`, with a confidence of 0.
    """
    query = _query(request)
    fields = with_model([("model", query.text("model") or "")])
    order, pcm, found = order_of(request, fields), _pcm(query), None
    async with _received(request) as received:
        sent = await _sent(received, pcm)
        async with recognition(request.app[DEPS], order, sent, received.tracker) as events:
            async for event in events:
                if isinstance(event, LanguageDetected):
                    found = event
                    break
        received.tracker.update(stage=Stage.DONE)  # to stop there is no failure
    code = UNDETERMINED if found is None else found.code
    return json_response(
        {
            "detected_language": LANGUAGES.get(code, UNKNOWN),
            "language_code": code,
            "confidence": finite(found.probability, digits=6) if found else 0.0,
        }
    )


def _query(request: web.Request) -> Fields:
    return Fields(list(request.query.items()))


def _fields(query: Fields, output: Output) -> Sequence[tuple[str, str]]:
    """Return what the query asks for, as a form of ours has it."""
    named = ((ours, query.text(theirs)) for theirs, ours in PASSED_ON.items())
    fields = [(name, text) for name, text in named if text is not None]
    fields.append(("response_format", SHAPES[output]))
    wants_words = boolean("word_timestamps", query.text("word_timestamps"))
    if output is Output.JSON and wants_words:
        fields.append(("timestamp_granularities", "segment,word"))
    return with_model(fields)


def _pcm(query: Fields) -> PcmFormat | None:
    """Return what the file is made of if it has no header; None: it says itself."""
    return RAW if boolean("encode", query.text("encode")) is False else None


def _received(request: web.Request) -> AbstractAsyncContextManager[Reception]:
    """Take a file of any name: films have more extensions than anybody lists."""
    return reception(request, file_part=FILE_PART, any_name=True)


async def _sent(received: Reception, pcm: PcmFormat | None) -> Sent:
    upload = await received.incoming.complete()
    return Sent(upload=upload, pcm=pcm, names={"file": FILE_PART})


async def _engine(request: web.Request, order: Order) -> str:
    entry = await models_of(request).model(order.request.model)
    return str(entry.extra.get("engine", ""))


def _base_name(name: str) -> str:
    """Return a file's name without directories and what cannot be shown."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:MAX_NAME] or "audio"


def _attachment(name: str) -> str:
    """Return a header (RFC 6266) that names a file: in ASCII, and in full if that is more."""
    plain = UNSAFE.sub("_", name)
    header = f'attachment; filename="{plain}"'
    if plain != name:
        header += f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    return header


def as_usual(transcript: Transcript, order: Order) -> bytes:
    """Return a transcript in a format of ours, but with the speakers as WhisperX writes them."""
    options = replace(order.response, voice_spans=False)
    return FORMATS[options.response_format].render(named(transcript), options)


def _text(transcript: Transcript, _order: Order) -> bytes:
    lines = (one_line(segment.text) for segment in transcript.segments)
    return encode_text("".join(f"{line}\n" for line in lines if line))


def json_result(transcript: Transcript, _order: Order | None = None) -> bytes:
    """Return the result object of openai-whisper, whose language is a code."""
    spoken = [segment for segment in named(transcript).segments if segment.text.strip()]
    return encode_json(
        {
            "text": transcript.text,
            "segments": [
                segment_body(number, segment) | _words(segment)
                for number, segment in enumerate(spoken)
            ],
            "language": transcript.language or UNDETERMINED,
        }
    )


def _words(segment: Segment) -> Json:
    if not segment.words:
        return {}
    return {
        "words": [
            {
                "word": word.text,
                "start": finite(word.start_s),
                "end": finite(word.end_s),
                "probability": finite(word.probability, digits=6),
            }
            for word in words_in([segment], offset_s=0.0)
        ]
    }


_WRITERS: Mapping[Output, Callable[[Transcript, Order], bytes]] = {
    Output.TXT: _text,
    Output.JSON: json_result,
}
