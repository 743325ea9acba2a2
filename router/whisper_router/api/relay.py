"""Uploads that another server recognises: sent on as they come, and its answer passed back."""

import re
import secrets
from functools import partial
from typing import Final

from aiohttp import hdrs, web

from whisper_router import tracing
from whisper_router.api import sse
from whisper_router.api.context import REQUEST_ID
from whisper_router.api.deps import DEPS
from whisper_router.api.noting import note_model
from whisper_router.audio.relayed import relayed_upload
from whisper_router.audio.upload import IncomingUpload
from whisper_router.domain import Client, Task
from whisper_router.engine_api import RelayedAnswer
from whisper_router.errors import LoopDetected
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.scheduling.fair_queue import Ticket

PSEUDONYM: Final = f"whisper-router-{secrets.token_hex(6)}"
"""How this process names itself in `Via` (RFC 9110 7.6.3)."""
MAX_HOPS: Final = 8
BYTES_PER_SECOND: Final = 16_000
"""What a second of audio takes, for the order in the queue: compressed speech at 128 kbit/s."""
_PSEUDONYMS = re.compile(r"\bwhisper-router-[0-9a-f]{12}\b")


async def send_on(
    request: web.Request, incoming: IncomingUpload, *, task: Task, client: Client, tracker: Tracker
) -> web.StreamResponse:
    """Answer with what a server of the model's engine answers.

    Raises:
        RouterError: as `pipeline.relay.Relay.answer`.
    """
    deps, model = request.app[DEPS], (await incoming.field("model") or "").strip()
    note_model(request, model)
    span = tracing.begin("upstream", kind=tracing.Kind.CLIENT, alias=model)
    headers = {hdrs.VIA: via(request), "X-Request-ID": request[REQUEST_ID], **span.headers()}
    ticket = Ticket(
        request_id=request[REQUEST_ID],
        key=client.name,
        weight=client.weight,
        cost_s=max(1.0, (request.content_length or 0) / BYTES_PER_SECOND),
    )
    tracker.update(stage=Stage.WAITING)
    began = partial(tracker.update, stage=Stage.TRANSCRIBING)
    with span, deps.models.in_use(model, None):
        async with (
            relayed_upload(incoming, task=task, headers=headers) as form,
            deps.relay.answer(model, form, ticket, began=began) as answer,
        ):
            return await _pass_back(request, answer)


def via(request: web.BaseRequest) -> str:
    """Return the `Via` header for what is sent on because of a request."""
    return ", ".join([*request.headers.getall(hdrs.VIA, []), f"1.1 {PSEUDONYM}"])


def check_hops(request: web.BaseRequest) -> None:
    """Refuse what was sent on from here before, or too often.

    Raises:
        LoopDetected: it was.
    """
    hops = _PSEUDONYMS.findall(", ".join(request.headers.getall(hdrs.VIA, [])))
    if PSEUDONYM in hops or len(hops) >= MAX_HOPS:
        raise LoopDetected(
            "This request has come through this server before: the servers in `base_urls` send "
            "it on to each other in a circle."
        )


async def _pass_back(request: web.Request, answer: RelayedAnswer) -> web.StreamResponse:
    if answer.is_stream:
        return await sse.pass_on(request, answer.body, heartbeat_s=request.app[DEPS].heartbeat_s)
    body = b"".join([piece async for piece in answer.body])
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: answer.content_type})
