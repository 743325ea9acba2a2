"""One call of an audio route: its body on disk, its audio recognised, its progress to be seen."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from whisper_router.api.auth import client_of, refuse_foreign_pages
from whisper_router.api.body import send_continue
from whisper_router.api.context import REQUEST_ID
from whisper_router.api.deps import DEPS, ApiDeps
from whisper_router.api.exchange import FIRST_TURN, TRACKER
from whisper_router.api.fields import Fields
from whisper_router.api.forms import Order, parse_order
from whisper_router.api.metering import metered
from whisper_router.api.model_access import check_model
from whisper_router.api.noting import note_model, note_progress
from whisper_router.api.relay import via
from whisper_router.audio.media import PcmFormat, pcm_format
from whisper_router.audio.upload import IncomingUpload, Upload, incoming_upload
from whisper_router.domain import Task, Transcript, TranscriptEvent
from whisper_router.errors import InvalidParameter, MissingParameter
from whisper_router.pipeline.progress import Tracker
from whisper_router.pipeline.transcribe import MediaSource, collect

DEFAULT_MODEL = "whisper-1"
"""What a dialect whose clients name no model asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """A request whose body may still be on its way, and how far it is."""

    incoming: IncomingUpload
    tracker: Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The audio of one request: a file, or the address of one.

    `pcm` overrides what the file's content type says of raw samples.
    """

    upload: Upload | None = None
    url: str | None = None
    pcm: PcmFormat | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """What the dialect calls `file` and `url`, where it does so otherwise."""


@asynccontextmanager
async def reception(
    request: web.Request, *, file_part: str = "file", any_name: bool = False
) -> AsyncIterator[Reception]:
    """Begin to read a form; what was read is deleted, and the request forgotten, at the end.

    `any_name`: the file's extension does not matter.

    Raises:
        RouterError: as `audio.upload.incoming_upload`.
    """
    deps = request.app[DEPS]
    limits = deps.upload_limits
    if any_name:
        limits = replace(limits, extensions=None)
    await send_continue(request, limit_bytes=limits.max_upload_bytes)
    async with (
        tracked(request) as tracker,
        incoming_upload(request, deps.spool, limits, file_part=file_part) as incoming,
    ):
        yield Reception(incoming=incoming, tracker=tracker)


@asynccontextmanager
async def tracked(request: web.Request, request_id: str = "") -> AsyncIterator[Tracker]:
    """Let the request's progress and its place in the queue be asked for until the block ends.

    `request_id` empty: under the id that it has over HTTP.
    """
    deps, client = request.app[DEPS], client_of(request)
    request_id = request_id or request[REQUEST_ID]
    with (
        deps.progress.track(request_id, owner=client.name) as tracker,
        deps.queues.watch(key=client.name, request_id=request_id) as request[FIRST_TURN],
    ):
        request[TRACKER] = tracker
        note_progress(request, request_id, tracker, request[FIRST_TURN])
        yield tracker


def order_of(
    request: web.Request, fields: Sequence[tuple[str, str]], task: Task = Task.TRANSCRIBE
) -> Order:
    """Return what the fields ask for, on behalf of the request's client.

    Raises:
        MissingParameter, InvalidParameter: as `parse_order`.
        ModelNotFound: there is no such model, or not for this key.
    """
    order = parse_order(
        fields,
        task=task,
        request_id=request[REQUEST_ID],
        client=client_of(request),
        via=via(request),
    )
    note_model(request, order.request.model)
    check_model(request, order.request.model)
    request.app[DEPS].transcriber.check(order.request)
    return order


@asynccontextmanager
async def recognition(
    deps: ApiDeps, order: Order, sent: Sent, tracker: Tracker
) -> AsyncIterator[AsyncGenerator[TranscriptEvent, None]]:
    """Yield the events of the audio; all work for them ends with the block.

    Raises:
        RouterError: there is no audio, or two; or what the events raise.
    """
    async with media_source(deps, sent) as media:
        recognised = deps.transcriber.run(order.request, media, tracker)
        events = metered(deps.usage, deps.keys, order.request, recognised, tracker)
        with deps.models.in_use(order.request.model, order.keep_alive_s):
            async with aclosing(events):
                yield events


async def recognised(deps: ApiDeps, order: Order, sent: Sent, tracker: Tracker) -> Transcript:
    """Return the whole transcript. Raises RouterError."""
    async with recognition(deps, order, sent, tracker) as events:
        return await collect(events, order.request)


def url_in(fields: Sequence[tuple[str, str]]) -> str | None:
    """Return the address that a form names."""
    url = Fields(fields).text("url", "audio_url")
    return None if url is None else url.strip()


def named_url(request: web.Request, fields: Sequence[tuple[str, str]]) -> str | None:
    """Return the address that a request names, which is to be asked for the audio.

    Raises:
        PermissionDenied: the request is one of another site's page (`auth.refuse_foreign_pages`).
    """
    url = url_in(fields)
    if url is not None:
        refuse_foreign_pages(request)
    return url


def with_model(fields: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return the fields, with the default model where they name none."""
    return fields if Fields(fields).text("model") else [*fields, ("model", DEFAULT_MODEL)]


@asynccontextmanager
async def media_source(deps: ApiDeps, sent: Sent) -> AsyncIterator[MediaSource]:
    """Yield the file that was sent, or one with what is at the address that was sent.

    Raises:
        RouterError: there is neither, or both; or the address cannot be fetched from.
    """
    upload, names = sent.upload, {"file": "file", "url": "url", **sent.names}
    if upload is not None and upload.file is not None:
        if sent.url is not None:
            raise InvalidParameter(
                f"'{names['file']}' and '{names['url']}' cannot be given together.",
                param=names["url"],
            )
        yield MediaSource(path=upload.file, pcm=sent.pcm or pcm_format(upload.content_type))
        return
    if sent.url is None:
        raise MissingParameter(names["file"])
    target = deps.spool.new_path(".fetched")
    try:
        await deps.fetcher.fetch(sent.url, target)
        yield MediaSource(path=target)
    finally:
        await asyncio.shield(asyncio.to_thread(target.unlink, missing_ok=True))
