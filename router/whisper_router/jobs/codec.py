"""Requests and results as JSON text, for the store. Pure."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from pydantic import TypeAdapter

from whisper_router.audio.media import PcmFormat
from whisper_router.domain import (
    Hole,
    LanguageDetected,
    Segment,
    Task,
    TokenLogprob,
    Transcript,
    TranscriptionRequest,
    Word,
)

Json = dict[str, Any]
REQUEST = TypeAdapter(TranscriptionRequest)
SEGMENT = tuple(item.name for item in fields(Segment))


def dump_request(request: TranscriptionRequest) -> str:
    """Return a request as JSON."""
    return REQUEST.dump_json(request).decode()


def load_request(text: str) -> TranscriptionRequest:
    """Return the request; a field of a newer version is left out."""
    request = REQUEST.validate_json(text)
    return replace(request, hotwords=tuple(request.hotwords))


def dump_events(events: Sequence[LanguageDetected | Segment]) -> str:
    """Return what a chunk gave as JSON."""
    return json.dumps([_event(event) for event in events], ensure_ascii=False)


def load_events(text: str) -> Sequence[LanguageDetected | Segment]:
    """Return what `dump_events` was given."""
    return [_loaded(body) for body in json.loads(text)]


def dump_transcript(transcript: Transcript) -> str:
    """Return a whole result as lines of JSON: all but the segments, then each of them.

    One that is hours long would stop all other threads if it were one text.
    """
    head = {
        "task": transcript.task,
        "language": transcript.language,
        "duration_s": transcript.duration_s,
        "holes": [asdict(hole) for hole in transcript.holes],
    }
    lines = (json.dumps(_event(item), ensure_ascii=False) for item in transcript.segments)
    return "\n".join([json.dumps(head, ensure_ascii=False), *lines])


def load_transcript(text: str) -> Transcript:
    """Return what `dump_transcript` was given; in its first version it made one text of all."""
    first, *lines = text.split("\n")
    head = json.loads(first)
    segments = head["segments"] if "segments" in head else map(json.loads, lines)
    return Transcript(
        task=Task(head["task"]),
        language=head["language"],
        duration_s=head["duration_s"],
        segments=tuple(_segment(item) for item in segments),
        holes=tuple(Hole(**hole) for hole in head["holes"]),
    )


def dump_pcm(pcm: PcmFormat | None) -> Json | None:
    """Return a sample format as JSON values."""
    return None if pcm is None else asdict(pcm)


def load_pcm(body: Json | None) -> PcmFormat | None:
    """Return what `dump_pcm` was given."""
    return None if body is None else PcmFormat(**body)


def _event(event: LanguageDetected | Segment) -> Json:
    if isinstance(event, Segment):
        body = {name: getattr(event, name) for name in SEGMENT}
        body["tokens"] = list(event.tokens)
        body["logprobs"] = [
            [item.token, item.logprob, base64.b64encode(item.data).decode()]
            for item in event.logprobs
        ]
        body["words"] = [
            [w.text, w.start_s, w.end_s, w.probability, *([w.speaker] if w.speaker else [])]
            for w in event.words
        ]
        return {"kind": "segment", **body}
    return {"kind": "language", **asdict(event)}


def _loaded(body: Json) -> LanguageDetected | Segment:
    if body["kind"] == "segment":
        return _segment(body)
    return LanguageDetected(code=body["code"], probability=body["probability"])


def _segment(body: Json) -> Segment:
    values = {name: value for name, value in body.items() if name in SEGMENT}
    values["tokens"] = tuple(values["tokens"])
    values["words"] = tuple(
        Word(
            text=text,
            start_s=start_s,
            end_s=end_s,
            probability=probability,
            speaker=speaker[0] if speaker else None,
        )
        for text, start_s, end_s, probability, *speaker in values["words"]
    )
    values["logprobs"] = tuple(
        TokenLogprob(token=token, logprob=logprob, data=base64.b64decode(data))
        for token, logprob, data in values["logprobs"]
    )
    return Segment(**values)
