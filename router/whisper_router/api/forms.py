"""Form fields → one `Order`: what to recognise and how to answer. Pure.

What is refused is what OpenAI refuses for every model; unknown fields are ignored.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from whisper_router.api.chunking import Chunking, parse_chunking
from whisper_router.api.fields import (
    Fields,
    boolean,
    choice,
    duration_s,
    integer,
    number,
    quoted,
)
from whisper_router.api.shaping import Shape
from whisper_router.api.stages import NOT_ALIGNED, parse_stages
from whisper_router.domain import Client, DecodingOptions, OnError, Task, TranscriptionRequest
from whisper_router.errors import InvalidParameter, MissingParameter
from whisper_router.languages import language_code

MAX_DECODERS = 8  # WHISPER_MAX_DECODERS of whisper.cpp: beams or candidates at a time
MAX_BATCH = 1024
MIN_INCREMENT = 0.01  # whisper.cpp lists every temperature: a tiny step takes all memory
GRANULARITIES = "timestamp_granularities[]"
FORBIDDEN_IN_KEYWORDS = frozenset("<>\r\n")


class ResponseFormat(StrEnum):
    """How a transcript is written down."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VERBOSE_JSON = "verbose_json"
    VTT = "vtt"
    TSV = "tsv"
    LRC = "lrc"
    AUD = "aud"
    VTT_JSON = "vtt_json"
    DIARIZED_JSON = "diarized_json"
    RTTM = "rttm"


class Granularity(StrEnum):
    """What `verbose_json` stamps with times."""

    WORD = "word"
    SEGMENT = "segment"


class Included(StrEnum):
    """What `include[]` can add to the answer."""

    LOGPROBS = "logprobs"
    VERBOSE_JSON = "verbose_json"


SUBTITLES = frozenset(
    {
        ResponseFormat.SRT,
        ResponseFormat.VTT,
        ResponseFormat.TSV,
        ResponseFormat.LRC,
        ResponseFormat.AUD,
        ResponseFormat.VTT_JSON,
    }
)
VERBOSE = frozenset({ResponseFormat.VERBOSE_JSON, ResponseFormat.VTT_JSON})
STREAMABLE = frozenset({ResponseFormat.JSON, ResponseFormat.TEXT, ResponseFormat.DIARIZED_JSON})
DIARIZED = frozenset({ResponseFormat.DIARIZED_JSON, ResponseFormat.RTTM})
"""Formats that are nothing without speakers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseOptions:
    """How to answer one request. `voice_spans`: WebVTT has speakers in tags, not in brackets.

    `verbose`: a stream's last event has the object of `verbose_json`.
    """

    response_format: ResponseFormat = ResponseFormat.JSON
    granularities: frozenset[Granularity] = frozenset({Granularity.SEGMENT})
    logprobs: bool = False
    stream: bool = False
    verbose: bool = False
    shape: Shape = field(default_factory=Shape)
    voice_spans: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One call of the audio API, understood.

    `keep_alive_s` is how long the engine is to stay afterwards; None: as it is configured.
    """

    request: TranscriptionRequest
    response: ResponseOptions
    keep_alive_s: float | None = None


def parse_order(
    fields: Sequence[tuple[str, str]],
    *,
    task: Task,
    request_id: str = "",
    client: Client | None = None,
    via: str = "",
) -> Order:
    """Return what the form asks for, on behalf of `client`.

    Raises:
        MissingParameter: there is no `model`.
        InvalidParameter: a field has a value that is never acceptable, or two fields exclude each
            other; `param` names the field.
    """
    form = Fields(fields)
    model = form.text("model")
    if model is None:
        raise MissingParameter("model")
    chunking = parse_chunking(form)
    response = _translated(form) if task is Task.TRANSLATE else _transcribed(form)
    stages = parse_stages(form, needs_speakers=response.response_format in DIARIZED)
    if stages.alignment == NOT_ALIGNED and Granularity.WORD in response.granularities:
        raise InvalidParameter(
            f"{GRANULARITIES}=word asks for times of words, and the alignment '{NOT_ALIGNED}' "
            "leaves them out.",
            param="alignment",
        )
    return Order(
        request=TranscriptionRequest(
            model=model.strip(),
            request_id=request_id,
            task=task,
            language=_source_language(form, task),
            prompt=form.text("prompt") or "",
            hotwords=_hotwords(form),
            word_timestamps=_wants_words(response),
            max_parallel=integer("batch_size", form.text("batch_size"), low=1, high=MAX_BATCH),
            transcription=stages.transcription,
            alignment=stages.alignment,
            speakers=stages.speakers,
            logprobs=response.logprobs,
            vad=_voice_activity(form, chunking),
            speech=chunking.speech,
            mixed_languages=_is_mixed(form),
            carry_context=boolean("context", form.text("context")),
            on_error=choice("on_error", form.text("on_error") or OnError.FAIL, OnError),
            client=client or Client(),
            decoding=_decoding(form),
            via=via,
        ),
        response=response,
        keep_alive_s=duration_s("keep_alive", form.text("keep_alive")),
    )


def _translated(form: Fields) -> ResponseOptions:
    """Translations have no granularities and no log probabilities; `stream` is our extension."""
    wanted = _response_format(form)
    if wanted is ResponseFormat.DIARIZED_JSON:
        raise InvalidParameter(
            "response_format 'diarized_json' is not supported for translations. "
            "Use 'json' or 'verbose_json' instead.",
            param="response_format",
            code="unsupported_value",
        )
    stream = _stream(form, wanted)
    return ResponseOptions(
        response_format=wanted,
        stream=stream,
        verbose=stream and Included.VERBOSE_JSON in form.words("include"),
        shape=_shape(form, wanted),
    )


def _transcribed(form: Fields) -> ResponseOptions:
    wanted = _response_format(form)
    included = {choice("include", item, Included) for item in form.words("include")}
    stream = _stream(form, wanted)
    verbose = stream and Included.VERBOSE_JSON in included
    return ResponseOptions(
        response_format=wanted,
        granularities=_granularities(form, is_stamped=verbose or wanted in VERBOSE),
        logprobs=Included.LOGPROBS in included,
        stream=stream,
        verbose=verbose,
        shape=_shape(form, wanted),
    )


def _shape(form: Fields, wanted: ResponseFormat) -> Shape:
    """Return how subtitles are to be shaped; other formats have no lines, so nothing is refused."""
    shape = Shape(
        max_line_width=_count(form, "max_line_width", 1000),
        max_line_count=_count(form, "max_line_count", 10),
        max_words_per_line=_count(form, "max_words_per_line", 100),
        highlight_words=boolean("highlight_words", form.text("highlight_words")) or False,
    )
    return shape if wanted in SUBTITLES else Shape()


def _count(form: Fields, name: str, most: int) -> int | None:
    return integer(name, form.text(name), low=1, high=most)


def _wants_words(response: ResponseOptions) -> bool:
    return Granularity.WORD in response.granularities or not response.shape.is_plain


def _response_format(form: Fields) -> ResponseFormat:
    text = (form.text("response_format") or ResponseFormat.JSON).strip()
    return choice("response_format", text, ResponseFormat)


def _granularities(form: Fields, *, is_stamped: bool) -> frozenset[Granularity]:
    words = form.words("timestamp_granularities")
    chosen = frozenset(choice(GRANULARITIES, word, Granularity) for word in words)
    if chosen and not is_stamped:
        raise InvalidParameter(
            f"response_format must be 'verbose_json' if {GRANULARITIES} is provided.",
            param=GRANULARITIES,
            code=None,
        )
    return chosen or frozenset({Granularity.SEGMENT})


def _stream(form: Fields, wanted: ResponseFormat) -> bool:
    stream = boolean("stream", form.text("stream")) or False
    if stream and wanted not in STREAMABLE:
        raise InvalidParameter(
            f"stream is not supported with response_format '{wanted}'. "
            "Use 'json', 'text' or 'diarized_json', or send stream=false.",
            param="stream",
            code="unsupported_value",
        )
    return stream


def _source_language(form: Fields, task: Task) -> str | None:
    """Return the language of the speech, None to detect it.

    On the translations route `en` cannot mean the speech: callers who send it name the target.
    Of several `languages` none is certain, so they are checked and the language is detected.
    """
    several = [_language("languages", item) for item in form.words("languages")]
    if _is_mixed(form):
        return None
    code = _language("language", form.text("language"))
    if code is None and len(several) == 1:
        code = several[0]
    return None if task is Task.TRANSLATE and code == "en" else code


def _is_mixed(form: Fields) -> bool:
    """Return whether the language is to be detected for each chunk (our extension)."""
    return (form.text("language") or "").strip().lower() == "mixed"


def _language(param: str, text: str | None) -> str | None:
    if text is None or text.strip().lower() == "auto":
        return None
    code = language_code(text)
    if code is None:
        raise InvalidParameter(
            f"Invalid language {quoted(text)}. Language parameter must be specified in "
            "ISO-639-1 format or as its English name.",
            param=param,
        )
    return code


def _hotwords(form: Fields) -> tuple[str, ...]:
    keywords = form.phrases("keywords")
    if any(FORBIDDEN_IN_KEYWORDS & set(keyword) for keyword in keywords):
        raise InvalidParameter(
            "A keyword must not contain '<', '>' or line breaks.", param="keywords"
        )
    return (*keywords, *form.phrases("hotwords"))


def _voice_activity(form: Fields, chunking: Chunking) -> bool | None:
    """Return the `vad` extension, or what the chunking strategy means; None: as configured."""
    name = "vad" if form.text("vad") else "vad_filter"
    explicit = boolean(name, form.text(name))
    return chunking.vad if explicit is None else explicit


def _decoding(form: Fields) -> DecodingOptions:
    """All but `temperature` are extensions, also under the names that whisper.cpp's server uses."""

    def size(name: str) -> int | None:
        return integer(name, form.text(name), low=1, high=MAX_DECODERS)

    def real(name: str, *other: str, low: float, high: float) -> float | None:
        return number(name, form.text(name, *other), low=low, high=high)

    return DecodingOptions(
        temperature=real("temperature", low=0, high=1),
        temperature_increment=_increment(form),
        beam_size=size("beam_size"),
        best_of=size("best_of"),
        entropy_threshold=real("entropy_threshold", "entropy_thold", low=0, high=100),
        logprob_threshold=real("logprob_threshold", "logprob_thold", low=-100, high=0),
        no_speech_threshold=real("no_speech_threshold", "no_speech_thold", low=0, high=1),
        suppress_nst=boolean("suppress_nst", form.text("suppress_nst", "suppress_non_speech")),
        suppress_numerals=boolean("suppress_numerals", form.text("suppress_numerals")),
    )


def _increment(form: Fields) -> float | None:
    name = "temperature_inc"
    value = number(name, form.text(name, "temperature_increment"), low=0, high=1)
    if value is not None and 0 < value < MIN_INCREMENT:
        raise InvalidParameter(f"'{name}' must be 0 or at least {MIN_INCREMENT}.", param=name)
    return value
