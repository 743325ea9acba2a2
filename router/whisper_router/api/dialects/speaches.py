"""speaches, once faster-whisper-server: its models, where somebody speaks, and what we do not do.

Its transcriptions are the OpenAI API's; their old stream is `api.old_sse`.
"""

import math
from collections.abc import Sequence

from aiohttp import web

from whisper_router.api.body import leave_waiting
from whisper_router.api.deps import DEPS, DialectOptions
from whisper_router.api.dialects import speaches_models
from whisper_router.api.dialects.speaches_speakers import find_speakers
from whisper_router.api.fields import Fields, integer, number
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import Sent, media_source, named_url, reception
from whisper_router.api.wire import json_response
from whisper_router.audio.media import VadOptions
from whisper_router.errors import InvalidParameter, ModelNotFound, NotSupported

DETAILED = True
NOT_OURS = (
    "/v1/audio/speech",
    "/v1/audio/speech/embedding",
    "/v1/chat/completions",
    "/v1/realtime",
)
"""What that server also does, and this one does not."""
VAD_MODEL = "silero_vad_v5"
THRESHOLD, HYSTERESIS, LOWEST = 0.75, 0.15, 0.01
MIN_SILENCE_MS = 1000
MAX_MS = 3_600_000
SHORTEST_S, LONGEST_S = 0.1, 86_400.0
ENDLESS = frozenset({"inf", "infinity"})


def routes(_options: DialectOptions) -> Sequence[web.RouteDef]:
    """Return the routes."""
    refused = [web.post(path, refuse, expect_handler=leave_waiting) for path in NOT_OURS]
    timestamps = web.post("/v1/audio/speech/timestamps", find_speech, expect_handler=leave_waiting)
    speakers = web.post("/v1/audio/diarization", find_speakers, expect_handler=leave_waiting)
    return [*speaches_models.routes(), timestamps, speakers, *refused]


@for_text
async def find_speech(request: web.Request) -> web.Response:
    """POST /v1/audio/speech/timestamps: where somebody speaks, in milliseconds."""
    deps = request.app[DEPS]
    async with reception(request) as received:
        upload = await received.incoming.complete()
        form = Fields(upload.fields)
        options, longest_s = vad_options(form), _longest_s(form)
        sent = Sent(upload=upload, url=named_url(request, upload.fields))
        async with media_source(deps, sent) as media:
            spans = await deps.speech.find(media, options, longest_s=longest_s)
    return json_response(
        [{"start": round(span.start_s * 1000), "end": round(span.end_s * 1000)} for span in spans]
    )


async def refuse(request: web.Request) -> web.Response:
    """Say what this server is for."""
    raise NotSupported(
        f"{request.method} {request.path} is not supported: this server turns speech into text "
        "(POST /v1/audio/transcriptions, WS /v1/realtime). It has no voices, no chat models, no "
        "speaker embeddings and no WebRTC."
    )


def vad_options(form: Fields) -> VadOptions:
    """Return how to look for speech; who asks for it decides, so music is not left out.

    Raises:
        ModelNotFound: another detector is asked for.
        InvalidParameter: a number is out of its range.
    """
    model = (form.text("model") or VAD_MODEL).strip()
    if model != VAD_MODEL:
        raise ModelNotFound(f"The model '{model[:200]}' does not exist: '{VAD_MODEL}' looks here.")
    threshold = number("threshold", form.text("threshold"), low=0, high=1)
    threshold = THRESHOLD if threshold is None else threshold
    leave = number("neg_threshold", form.text("neg_threshold"), low=0, high=1)
    if leave is None:
        leave = min(threshold, max(threshold - HYSTERESIS, LOWEST))
    if leave > threshold:
        raise InvalidParameter(
            "'neg_threshold' must not be above 'threshold'.", param="neg_threshold"
        )
    return VadOptions(
        threshold=threshold,
        hysteresis=threshold - leave,
        min_speech_s=_ms(form, "min_speech_duration_ms", 0) / 1000,
        min_silence_s=_ms(form, "min_silence_duration_ms", MIN_SILENCE_MS) / 1000,
        pad_s=_ms(form, "speech_pad_ms", 0) / 1000,
        min_contrast_db=0.0,
    )


def _ms(form: Fields, name: str, default: int) -> int:
    value = integer(name, form.text(name), low=0, high=MAX_MS)
    return default if value is None else value


def _longest_s(form: Fields) -> float:
    name = "max_speech_duration_s"
    text = form.text(name)
    if text is None or text.strip().lower() in ENDLESS:
        return math.inf
    return number(name, text, low=SHORTEST_S, high=LONGEST_S) or math.inf
