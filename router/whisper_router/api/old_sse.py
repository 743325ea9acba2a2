"""The stream of faster-whisper-server up to 0.7: a whole answer in each event, in any format."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from aiohttp import web

from whisper_router.api import sse
from whisper_router.api.deps import DEPS
from whisper_router.api.fields import Fields, boolean
from whisper_router.api.formats import FORMATS
from whisper_router.api.forms import Order
from whisper_router.domain import LanguageDetected, Segment, Transcript, TranscriptEvent

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OldForm:
    """A form without its `stream`, which every format can have here."""

    fields: Pairs
    wants_stream: bool


def read_form(fields: Pairs) -> OldForm:
    """Take `stream` out of a form.

    Raises:
        InvalidParameter: it is neither true nor false.
    """
    return OldForm(
        fields=[(name, value) for name, value in fields if name.strip() != "stream"],
        wants_stream=boolean("stream", Fields(fields).text("stream")) or False,
    )


async def stream(
    request: web.Request, events: AsyncGenerator[TranscriptEvent, None], order: Order
) -> web.StreamResponse:
    """Send an event for each segment; the last one is followed by nothing.

    Raises:
        RouterError: the work failed before anything was sent.
    """
    await anext(events)  # it is audio; until that is known nothing is sent, not even heartbeats
    return await sse.pass_on(
        request, _frames(events, order), heartbeat_s=request.app[DEPS].heartbeat_s
    )


async def _frames(
    events: AsyncGenerator[TranscriptEvent, None], order: Order
) -> AsyncGenerator[bytes, None]:
    language = order.request.language
    async for event in events:
        if isinstance(event, LanguageDetected):
            language = event.code
        elif isinstance(event, Segment) and event.text.strip():
            yield _frame(event, language, order)


def _frame(segment: Segment, language: str | None, order: Order) -> bytes:
    """Return an event whose data is the answer to a request that held this segment only.

    Times stay those of the whole audio, so that the answer ends where the segment does.
    """
    transcript = Transcript(
        task=order.request.task,
        language=language,
        duration_s=segment.end_s,
        segments=(segment,),
    )
    answer = FORMATS[order.response.response_format].render(transcript, order.response)
    lines = answer.rstrip(b"\n").split(b"\n")
    return b"".join(b"data: " + line + b"\n" for line in lines) + b"\n"
