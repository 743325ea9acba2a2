"""What the plugin and its worker say to each other: JSON orders in, NDJSON events out.

Both sides import this module, so it imports nothing heavy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from whisper_router.domain import (
    Chunk,
    DecodingOptions,
    Lane,
    LanguageDetected,
    Segment,
    TokenLogprob,
    TranscriptionRequest,
    Word,
)

MAX_DECODERS = 8
"""`WHISPER_MAX_DECODERS` of whisper.cpp 1.8.5: the most beams or candidates."""
MIN_INCREMENT = 0.01
"""whisper.cpp lists every temperature up to 1 before it decodes: a tiny step takes all memory."""
MAX_PROMPT_BYTES = 2048
"""Whisper uses the last 224 tokens, of some five bytes each.

whisper.cpp 1.8.5 splits a prompt into words with a recursive regular expression: a run of 16,000
bytes takes it 18 s, one of 30,000 overflows its stack.
"""


class OrderError(ValueError):
    """The order cannot be carried out; the message says why.

    `param` names what of the request the model cannot do: `model` or `language`.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One chunk to transcribe. `decoding` holds only what the request itself asked for.

    `live`: it is a window of a live session, of which there will be more. `request_id` goes into
    what the worker prints.
    """

    request_id: str
    path: str
    start: int
    end: int
    task: str
    language: str | None
    prompt: str
    live: bool
    word_timestamps: bool
    logprobs: bool
    decoding: Mapping[str, Any]


def order_json(chunk: Chunk, request: TranscriptionRequest) -> dict[str, Any]:
    """Return the body of `POST /transcribe`."""
    asked = asdict(request.decoding)
    return {
        "request_id": request.request_id,
        "path": str(chunk.path),
        "start": chunk.start,
        "end": chunk.end,
        "task": request.task.value,
        "language": request.language,
        "prompt": full_prompt(request.hotwords, request.prompt),
        "live": request.lane is Lane.LIVE,
        "word_timestamps": request.word_timestamps,
        "logprobs": request.logprobs,
        "decoding": {name: value for name, value in asked.items() if value is not None},
    }


def full_prompt(hotwords: Sequence[str], prompt: str) -> str:
    """Put the hotwords before the prompt: whisper keeps the end of what is too long."""
    words = ", ".join(word.strip() for word in hotwords if word.strip())
    whole = f"{words}. {prompt}".strip() if words else prompt
    data = whole.encode(errors="replace")
    return data[-MAX_PROMPT_BYTES:].decode(errors="ignore")


def parse_order(body: object) -> Order:
    """Return the order in a decoded JSON body.

    Raises:
        OrderError: a field is missing or unknown.
    """
    if not isinstance(body, dict):
        raise OrderError("the order is not a JSON object")
    known = {field.name for field in fields(Order)}
    if set(body) != known:
        raise OrderError(f"fields missing or unknown: {', '.join(sorted(set(body) ^ known))}")
    unknown = set(body["decoding"]) - {field.name for field in fields(DecodingOptions)}
    if unknown:
        raise OrderError(f"unknown decoding options: {', '.join(sorted(unknown))}")
    return Order(**body)


def segment_json(segment: Segment) -> dict[str, Any]:
    """Return a segment as an event."""
    return {
        "event": "segment",
        "start": segment.start_s,
        "end": segment.end_s,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "words": [[w.text, w.start_s, w.end_s, w.probability] for w in segment.words],
        "logprobs": [[t.token, t.logprob, list(t.data)] for t in segment.logprobs],
        "seek": segment.seek_s,
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def parse_segment(event: Mapping[str, Any]) -> Segment:
    """Return the segment in an event; the reverse of `segment_json`."""
    return Segment(
        start_s=event["start"],
        end_s=event["end"],
        text=event["text"],
        tokens=tuple(event["tokens"]),
        words=tuple(
            Word(text=text, start_s=start, end_s=end, probability=probability)
            for text, start, end, probability in event["words"]
        ),
        logprobs=tuple(
            TokenLogprob(token=token, logprob=logprob, data=bytes(data))
            for token, logprob, data in event["logprobs"]
        ),
        seek_s=event["seek"],
        temperature=event["temperature"],
        avg_logprob=event["avg_logprob"],
        compression_ratio=event["compression_ratio"],
        no_speech_prob=event["no_speech_prob"],
    )


def language_json(language: LanguageDetected) -> dict[str, Any]:
    """Return a language as an event."""
    return {"event": "language", "code": language.code, "probability": language.probability}
