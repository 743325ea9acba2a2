"""speaches' diarization: who speaks when, without what."""

from dataclasses import replace
from enum import StrEnum

from aiohttp import web

from whisper_router.api.deps import DEPS
from whisper_router.api.fields import Fields, choice
from whisper_router.api.formats import FORMATS, finite
from whisper_router.api.forms import ResponseFormat
from whisper_router.api.noting import for_text
from whisper_router.api.recognise import Sent, media_source, named_url, reception
from whisper_router.api.stages import parse_stages
from whisper_router.api.subtitles import Cue, milliseconds, rttm
from whisper_router.api.wire import encode_text, json_response
from whisper_router.domain import SpeakerOptions


class SpeakerFormat(StrEnum):
    """How turns are written down."""

    JSON = "json"
    RTTM = "rttm"


@for_text
async def find_speakers(request: web.Request) -> web.Response:
    """POST /v1/audio/diarization: turns with their speakers, in seconds."""
    deps = request.app[DEPS]
    async with reception(request) as received:
        upload = await received.incoming.complete()
        form = Fields(upload.fields)
        wanted = choice(
            "response_format", form.text("response_format") or SpeakerFormat.JSON, SpeakerFormat
        )
        speakers = parse_stages(form, needs_speakers=True).speakers or SpeakerOptions()
        model = (form.text("model") or "").strip()
        if model in deps.stages.diarizations:  # its clients name models that are not ours
            speakers = replace(speakers, method=model)
        sent = Sent(upload=upload, url=named_url(request, upload.fields))
        async with media_source(deps, sent) as media:
            found = await deps.speakers.find(media, speakers)
    if wanted is SpeakerFormat.RTTM:
        cues = [
            Cue(
                start_ms=milliseconds(turn.start_s),
                end_ms=milliseconds(turn.end_s),
                text=turn.speaker,
                speaker=turn.speaker,
            )
            for turn in found.turns
        ]
        headers = {"Content-Type": FORMATS[ResponseFormat.RTTM].content_type}
        return web.Response(body=encode_text(rttm(cues)), headers=headers)
    segments = [
        {"start": finite(turn.start_s), "end": finite(turn.end_s), "speaker": turn.speaker}
        for turn in found.turns
    ]
    return json_response({"duration": finite(found.duration_s), "segments": segments})
