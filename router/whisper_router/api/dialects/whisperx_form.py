"""The form of whisperX API server as fields of ours, and its answers. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from whisper_router.api.fields import Fields, boolean, choice, integer
from whisper_router.api.formats import FORMATS, finite
from whisper_router.api.forms import ResponseFormat, ResponseOptions
from whisper_router.api.recognise import DEFAULT_MODEL
from whisper_router.api.shaping import Shape
from whisper_router.api.stages import ALIGNED_IF_POSSIBLE
from whisper_router.domain import Segment, Task, Transcript, Word
from whisper_router.errors import InvalidParameter

ALIGNED_FORMATS = frozenset(
    {ResponseFormat.SRT, ResponseFormat.VTT, ResponseFormat.AUD, ResponseFormat.VTT_JSON}
)
"""Formats that whisperX API server refuses without alignment."""
PASSED_ON = frozenset(
    {
        "file",
        "audio_url",
        "language",
        "prompt",
        "temperature",
        "hotwords",
        "suppress_numerals",
        "batch_size",
        "min_speakers",
        "max_speakers",
    }
)
"""Fields that mean here what they mean in our own form."""
SPEAKER_NAMES = tuple(f"SPEAKER_{number:02d}" for number in range(64))
LONGEST_CHUNK_S = 30
Json = dict[str, Any]
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperXForm:
    """What a form asks for. `fields` are those of our own form, for the recognition alone."""

    fields: Pairs
    response_format: ResponseFormat
    is_aligned: bool
    is_diarized: bool
    highlight_words: bool
    is_async: bool
    callback_url: str | None

    @property
    def options(self) -> Json:
        """What is to be remembered of it, so that the answer can be written later."""
        return {
            "response_format": self.response_format.value,
            "align": self.is_aligned,
            "diarize": self.is_diarized,
            "highlight_words": self.highlight_words,
        }


def parse_form(sent: Pairs, task: Task) -> WhisperXForm:
    """Return what the form asks for; translations are neither aligned nor diarised.

    Raises:
        InvalidParameter: a value is not acceptable, or two fields exclude each other.
    """
    form = Fields(sent)
    wanted = choice(
        "response_format", form.text("response_format") or ResponseFormat.JSON, ResponseFormat
    )
    is_plain = task is Task.TRANSLATE
    is_aligned = not is_plain and boolean("align", form.text("align")) is not False
    is_diarized = not is_plain and boolean("diarize", form.text("diarize")) is True
    _check(form, wanted, is_aligned=is_aligned or is_plain, is_diarized=is_diarized)
    fields = [pair for pair in sent if pair[0].partition("[")[0] in PASSED_ON]
    fields.append(("model", form.text("model") or DEFAULT_MODEL))
    if not is_plain and form.text("align") is None:
        fields.append(
            ("alignment", ALIGNED_IF_POSSIBLE)
        )  # nobody has asked for it in so many words
    elif not is_plain:
        fields.append(("align", "true" if is_aligned else "false"))
    if is_diarized:
        fields.append(("diarize", "true"))
    return WhisperXForm(
        fields=fields,
        response_format=wanted,
        is_aligned=is_aligned,
        is_diarized=is_diarized,
        highlight_words=boolean("highlight_words", form.text("highlight_words")) or False,
        is_async=boolean("async", form.text("async")) or False,
        callback_url=form.text("callback_url"),
    )


def _check(form: Fields, wanted: ResponseFormat, *, is_aligned: bool, is_diarized: bool) -> None:
    if wanted in ALIGNED_FORMATS and not is_aligned:
        raise InvalidParameter(
            f"response_format '{wanted}' needs align=true.", param="response_format"
        )
    if is_diarized and not is_aligned:
        raise InvalidParameter("diarize=true needs align=true.", param="diarize")
    if wanted in {ResponseFormat.DIARIZED_JSON, ResponseFormat.RTTM} and not is_diarized:
        raise InvalidParameter(
            f"response_format '{wanted}' needs diarize=true.", param="response_format"
        )
    if boolean("speaker_embeddings", form.text("speaker_embeddings")):
        raise InvalidParameter(
            "Speaker embeddings are not available: no diarization that is installed computes them.",
            param="speaker_embeddings",
            code="unsupported_value",
        )
    integer("chunk_size", form.text("chunk_size"), low=1, high=LONGEST_CHUNK_S)
    boolean("stream", form.text("stream"))
    granularities = form.words("timestamp_granularities")
    if any(item not in {"word", "segment"} for item in granularities):
        raise InvalidParameter(
            "timestamp_granularities[] holds 'word' and 'segment' only.",
            param="timestamp_granularities[]",
        )


def named(transcript: Transcript) -> Transcript:
    """Return the transcript with its speakers called as whisperX calls them, in their order."""
    labels: dict[str, str] = {}

    def label(speaker: str | None) -> str | None:
        if speaker is None:
            return None
        return labels.setdefault(speaker, SPEAKER_NAMES[len(labels) % len(SPEAKER_NAMES)])

    segments = [
        replace(
            segment,
            speaker=label(segment.speaker),
            words=tuple(replace(word, speaker=label(word.speaker)) for word in segment.words),
        )
        for segment in transcript.segments
    ]
    return replace(transcript, segments=segments)


def answer(
    transcript: Transcript, options: Mapping[str, Any], wanted: ResponseFormat, *, highlight: bool
) -> tuple[Any, str]:
    """Return the body of an answer, an object or a text, and its content type."""
    transcript = named(transcript)
    if wanted is ResponseFormat.JSON:
        return {"text": _lines(transcript)}, FORMATS[ResponseFormat.JSON].content_type
    if wanted is ResponseFormat.VERBOSE_JSON:
        body = verbose_body(transcript, is_aligned=bool(options.get("align")))
        return body, FORMATS[wanted].content_type
    if wanted is ResponseFormat.VTT_JSON:
        body = verbose_body(transcript, is_aligned=bool(options.get("align")))
        body["vtt_text"] = _written(transcript, ResponseFormat.VTT, highlight=highlight)
        return body, FORMATS[wanted].content_type
    content_type = FORMATS[wanted].content_type
    if wanted is ResponseFormat.VTT:
        content_type = content_type.replace("text/plain", "text/vtt")
    return _written(transcript, wanted, highlight=highlight), content_type


def verbose_body(transcript: Transcript, *, is_aligned: bool) -> Json:
    """Return whisperX's result: with alignment its segments are nested beside all words."""
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    segments: Any = [_segment(segment, with_words=is_aligned) for segment in spoken]
    if is_aligned:
        words = [word for segment in segments for word in segment["words"]]
        segments = {"segments": segments, "word_segments": words}
    return {
        "segments": segments,
        "language": transcript.language,
        "text": _lines(transcript),
    }


def _segment(segment: Segment, *, with_words: bool) -> Json:
    body: Json = {
        "start": finite(segment.start_s),
        "end": finite(segment.end_s),
        "text": segment.text,
    }
    if segment.speaker is not None:
        body["speaker"] = segment.speaker
    if with_words:
        body["words"] = [_word(word) for word in segment.words]
    return body


def _word(word: Word) -> Json:
    body: Json = {
        "word": word.text,
        "start": finite(word.start_s),
        "end": finite(word.end_s),
        "score": finite(word.probability),
    }
    return body if word.speaker is None else body | {"speaker": word.speaker}


def _lines(transcript: Transcript) -> str:
    return "\n".join(_texts(transcript))


def _texts(transcript: Transcript) -> Iterator[str]:
    return filter(None, (segment.text.strip() for segment in transcript.segments))


def _written(transcript: Transcript, wanted: ResponseFormat, *, highlight: bool) -> str:
    render: Callable[[Transcript, ResponseOptions], bytes] = FORMATS[wanted].render
    options = ResponseOptions(
        response_format=wanted,
        shape=Shape(max_line_width=1000, highlight_words=highlight),
        voice_spans=False,
    )
    return render(transcript, options).decode("utf-8")
