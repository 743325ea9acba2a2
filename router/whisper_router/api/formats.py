"""A transcript in every format of the OpenAI audio API. Pure."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from aiohttp import web

from whisper_router.api import subtitles
from whisper_router.api.forms import Granularity, ResponseFormat, ResponseOptions
from whisper_router.api.shaping import shaped
from whisper_router.api.wire import encode_json, encode_text
from whisper_router.domain import Segment, Task, TokenLogprob, Transcript, Word
from whisper_router.languages import LANGUAGES

JSON_TYPE, TEXT_TYPE = "application/json", "text/plain; charset=utf-8"
SEEK_FRAMES_PER_S = 100  # `seek` counts mel frames of 10 ms
AUDIO_TOKENS_PER_S = 10  # what gpt-4o-transcribe bills for one second of audio
TRANSLATION_LANGUAGE = "english"
UNKNOWN_SPEAKER = "unknown"  # somebody whom the diarization has not heard
UNKNOWN_LANGUAGE = "unknown"  # nothing was said, and no language was named

ABSURD = 1e12  # no time, probability or ratio is that large; NaN and infinity are not below it

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one response format is rendered, and the exact `Content-Type` it is sent as."""

    content_type: str
    render: Callable[[Transcript, ResponseOptions], bytes]


def respond(transcript: Transcript, options: ResponseOptions) -> web.Response:
    """Return the answer to a request that does not stream."""
    wanted = FORMATS[options.response_format]
    return web.Response(
        body=wanted.render(transcript, options), headers={"Content-Type": wanted.content_type}
    )


def json_body(transcript: Transcript, options: ResponseOptions) -> Json:
    """Return the `json` object: a translation has its text and nothing else."""
    body: Json = {"text": transcript.text}
    if options.logprobs:
        body["logprobs"] = list(_all_logprobs(transcript.segments))
    if transcript.task is Task.TRANSCRIBE:
        body["usage"] = duration_usage(transcript.duration_s)
    return body | _holes(transcript)


def verbose_body(transcript: Transcript, options: ResponseOptions) -> Json:
    """Return the `verbose_json` object, with the arrays that the granularities ask for."""
    body: Json = {
        "task": transcript.task.value,
        "language": _language_name(transcript),
        "duration": finite(transcript.duration_s),
        "text": transcript.text,
    }
    if Granularity.SEGMENT in options.granularities:
        spoken = [segment for segment in transcript.segments if segment.text.strip()]
        body["segments"] = [segment_body(number, item) for number, item in enumerate(spoken)]
    if Granularity.WORD in options.granularities:
        body["words"] = list(word_bodies(transcript))
    if options.logprobs:
        body["logprobs"] = list(_all_logprobs(transcript.segments))
    if transcript.task is Task.TRANSCRIBE:
        body["usage"] = duration_usage(transcript.duration_s)
    return body | _holes(transcript)


def diarized_body(transcript: Transcript) -> Json:
    """Return the `diarized_json` object: who says what, turn by turn."""
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    lines = (
        f"{speaker or UNKNOWN_SPEAKER}: {''.join(item.text for item in turn).strip()}"
        for speaker, turn in groupby(spoken, key=lambda segment: segment.speaker)
    )
    body: Json = {
        "task": transcript.task.value,
        "duration": finite(transcript.duration_s),
        "text": "\n".join(lines),
        "segments": [diarized_segment(number, item) for number, item in enumerate(spoken, 1)],
        "usage": duration_usage(transcript.duration_s),
    }
    return body | _holes(transcript)


def diarized_segment(number: int, segment: Segment) -> Json:
    """Return one segment of `diarized_json`, which is an event of its stream, too."""
    return {
        "type": "transcript.text.segment",
        "id": f"seg_{number:03d}",
        "start": finite(segment.start_s),
        "end": finite(segment.end_s),
        "text": segment.text.strip(),
        "speaker": segment.speaker or UNKNOWN_SPEAKER,
    }


def _holes(transcript: Transcript) -> Json:
    """Return the key for stretches that were skipped (`on_error=skip`), when there are any."""
    if not transcript.holes:
        return {}
    return {
        "holes": [
            {"start": finite(hole.start_s), "end": finite(hole.end_s), "error": hole.reason}
            for hole in transcript.holes
        ]
    }


def segment_body(number: int, segment: Segment) -> Json:
    """Return the ten fields of a segment; its text keeps the leading space."""
    return {
        "id": number,
        "seek": round(finite(segment.seek_s) * SEEK_FRAMES_PER_S),
        "start": finite(segment.start_s),
        "end": finite(segment.end_s),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": finite(segment.temperature),
        "avg_logprob": finite(segment.avg_logprob, digits=6),
        "compression_ratio": finite(segment.compression_ratio, digits=6),
        "no_speech_prob": finite(segment.no_speech_prob, digits=6),
        **({} if segment.language is None else {"language": segment.language}),
        **({} if segment.speaker is None else {"speaker": segment.speaker}),
    }


def word_bodies(transcript: Transcript) -> Iterator[Json]:
    """Yield words without punctuation, in order and inside the audio."""
    duration_s, end_s = max(finite(transcript.duration_s), 0.0), 0.0
    for word in (word for segment in transcript.segments for word in segment.words):
        if text := _bare(word):
            start_s = min(max(finite(word.start_s), end_s), duration_s)
            end_s = min(max(finite(word.end_s), start_s), duration_s)
            speaker = {} if word.speaker is None else {"speaker": word.speaker}
            yield {"word": text, "start": start_s, "end": end_s, **speaker}


def logprob_bodies(logprobs: Sequence[TokenLogprob]) -> Iterator[Json]:
    """Yield one object per token; `bytes` are its raw UTF-8, whole characters or not."""
    for item in logprobs:
        yield {
            "token": item.token,
            "logprob": finite(item.logprob, digits=6),
            "bytes": list(item.data),
        }


def duration_usage(duration_s: float) -> Json:
    """Return usage by time: whole seconds, begun ones count, at least one."""
    return {"type": "duration", "seconds": max(1, math.ceil(finite(duration_s)))}


def token_usage(duration_s: float, *, output_tokens: int) -> Json:
    """Return usage by tokens, the only kind that a stream may report."""
    audio_tokens = max(1, math.ceil(finite(duration_s) * AUDIO_TOKENS_PER_S))
    return {
        "type": "tokens",
        "input_tokens": audio_tokens,
        "input_token_details": {"text_tokens": 0, "audio_tokens": audio_tokens},
        "output_tokens": output_tokens,
        "total_tokens": audio_tokens + output_tokens,
    }


def finite(value: float, *, digits: int = 3) -> float:
    """Return a rounded number that JSON can hold, 0 for one that means nothing.

    An engine plugin may come up with NaN; we may not send it.
    """
    return round(value, digits) if abs(value) < ABSURD else 0.0


def _bare(word: Word) -> str:
    """Return the word without the punctuation around it (`can't` keeps its apostrophe)."""
    text = word.text.strip()
    kept = [index for index, letter in enumerate(text) if _belongs(letter)]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def _belongs(letter: str) -> bool:
    """Tell letters, digits, marks and symbols such as `%` or `€` from punctuation and space."""
    return letter.isalnum() or unicodedata.category(letter)[0] in "MS" or letter in "%&@#"


def _all_logprobs(segments: Sequence[Segment]) -> Iterator[Json]:
    for segment in segments:
        yield from logprob_bodies(segment.logprobs)


def _language_name(transcript: Transcript) -> str:
    if transcript.task is Task.TRANSLATE:
        return TRANSLATION_LANGUAGE
    return LANGUAGES.get(transcript.language or "", transcript.language or UNKNOWN_LANGUAGE)


def _json(transcript: Transcript, options: ResponseOptions) -> bytes:
    return encode_json(json_body(transcript, options))


def _verbose_json(transcript: Transcript, options: ResponseOptions) -> bytes:
    return encode_json(verbose_body(transcript, options))


def _text(transcript: Transcript, _options: ResponseOptions) -> bytes:
    return encode_text(transcript.text + "\n")


def _cues(
    transcript: Transcript, options: ResponseOptions, *, names_speakers: bool = False
) -> Iterator[subtitles.Cue]:
    """Yield cues. `names_speakers`: their texts are written behind the speakers' names."""
    if options.shape.is_plain:
        return subtitles.cues(transcript.segments)
    lead = subtitles.lead if names_speakers else None
    return shaped(transcript.segments, options.shape, lead)


def _diarized_json(transcript: Transcript, _options: ResponseOptions) -> bytes:
    return encode_json(diarized_body(transcript))


def _vtt_text(transcript: Transcript, options: ResponseOptions) -> str:
    return subtitles.vtt(_cues(transcript, options), voice_spans=options.voice_spans)


def _vtt(transcript: Transcript, options: ResponseOptions) -> bytes:
    return encode_text(_vtt_text(transcript, options))


def _vtt_json(transcript: Transcript, options: ResponseOptions) -> bytes:
    """Return `verbose_json` with the subtitles in it, as whisperX API server does."""
    vtt_text = _vtt_text(transcript, options)
    return encode_json(verbose_body(transcript, options) | {"vtt_text": vtt_text})


def _as_subtitles(
    write: Callable[[Iterable[subtitles.Cue]], str],
    content_type: str = TEXT_TYPE,
    *,
    names_speakers: bool = False,
) -> Format:
    def render(transcript: Transcript, options: ResponseOptions) -> bytes:
        return encode_text(write(_cues(transcript, options, names_speakers=names_speakers)))

    return Format(content_type=content_type, render=render)


FORMATS: Mapping[ResponseFormat, Format] = {
    ResponseFormat.JSON: Format(content_type=JSON_TYPE, render=_json),
    ResponseFormat.TEXT: Format(content_type=TEXT_TYPE, render=_text),
    ResponseFormat.SRT: _as_subtitles(subtitles.srt, names_speakers=True),
    ResponseFormat.VERBOSE_JSON: Format(content_type=JSON_TYPE, render=_verbose_json),
    ResponseFormat.VTT: Format(content_type=TEXT_TYPE, render=_vtt),
    ResponseFormat.TSV: _as_subtitles(subtitles.tsv, names_speakers=True),
    ResponseFormat.LRC: _as_subtitles(subtitles.lrc, names_speakers=True),
    ResponseFormat.AUD: _as_subtitles(subtitles.aud),
    ResponseFormat.VTT_JSON: Format(content_type=JSON_TYPE, render=_vtt_json),
    ResponseFormat.DIARIZED_JSON: Format(content_type=JSON_TYPE, render=_diarized_json),
    ResponseFormat.RTTM: _as_subtitles(subtitles.rttm),
}
