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
    """Return a whole result as JSON."""
    body = {
        "task": transcript.task,
        "language": transcript.language,
        "duration_s": transcript.duration_s,
        "segments": [_event(segment) for segment in transcript.segments],
        "holes": [asdict(hole) for hole in transcript.holes],
    }
    return json.dumps(body, ensure_ascii=False)


def load_transcript(text: str) -> Transcript:
    """Return what `dump_transcript` was given."""
    body = json.loads(text)
    return Transcript(
        task=Task(body["task"]),
        language=body["language"],
        duration_s=body["duration_s"],
        segments=tuple(_segment(item) for item in body["segments"]),
        holes=tuple(Hole(**hole) for hole in body["holes"]),
    )


def dump_pcm(pcm: PcmFormat | None) -> Json | None:
    """Return a sample format as JSON values."""
    return None if pcm is None else asdict(pcm)


def load_pcm(body: Json | None) -> PcmFormat | None:
    """Return what `dump_pcm` was given."""
    return None if body is None else PcmFormat(**body)


def _event(event: LanguageDetected | Segment) -> Json:
    body = asdict(event)
    if isinstance(event, Segment):
        body["logprobs"] = [
            [item.token, item.logprob, base64.b64encode(item.data).decode()]
            for item in event.logprobs
        ]
        body["words"] = [
            [w.text, w.start_s, w.end_s, w.probability, *([w.speaker] if w.speaker else [])]
            for w in event.words
        ]
        return {"kind": "segment", **body}
    return {"kind": "language", **body}


def _loaded(body: Json) -> LanguageDetected | Segment:
    if body["kind"] == "segment":
        return _segment(body)
    return LanguageDetected(code=body["code"], probability=body["probability"])


def _segment(body: Json) -> Segment:
    known = {item.name for item in fields(Segment)}
    values = {name: value for name, value in body.items() if name in known}
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
