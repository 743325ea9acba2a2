"""Transcribes files through a server that speaks the OpenAI audio API."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from whisper_router.commands.event_stream import EventStream
from whisper_router.commands.remote_key import key_headers
from whisper_router.commands.transcribe_screen import State, View
from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.errors import EngineError, Unavailable
from whisper_router.tasks import Tasks

BLOCK_BYTES = 1 << 16
CONNECT_S = 10.0
EVENTS_TYPE = "text/event-stream"
ASK_AGAIN_S = (0.0, 0.1, 0.3, 1.0, 3.0)
"""When a server that does not know our request is asked again: it may not have seen it yet."""


class RemoteServer:
    """A base URL with a key; uploads are streamed from disk."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        request: TranscriptionRequest,
        response_format: str,
    ) -> None:
        self._http, self._url, self._request, self._format = http, url, request, response_format

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, api_key: str | None, request: TranscriptionRequest, response_format: str
    ) -> AsyncIterator["RemoteServer"]:
        """Open a session for `url`, with or without `/v1` at its end.

        Raises:
            ConfigurationError: the key cannot be one.
        """
        headers = key_headers(api_key)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        base = url.rstrip("/")
        base = base if base.endswith("/v1") else f"{base}/v1"
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            yield cls(http, base, request, response_format)

    async def recognise(self, path: Path, view: View) -> str:
        """Return the server's answer for `path`, showing what the server tells meanwhile.

        Raises:
            Unavailable: the server cannot be reached.
            EngineError: it answered with an error; the message is its own.
        """
        request_id = f"cli-{uuid.uuid4().hex}"
        size = (await asyncio.to_thread(path.stat)).st_size
        async with self._progress(request_id, view) as report:
            form = self._form(view)
            form.add_field("file", _blocks(path, size, report), filename=path.name)
            try:
                return await self._ask(form, request_id, view)
            except aiohttp.ClientError as error:
                raise Unavailable(f"{self._url}: {error}") from error

    async def _ask(self, form: aiohttp.FormData, request_id: str, view: View) -> str:
        is_translation = self._request.task is Task.TRANSLATE
        url = f"{self._url}/audio/{'translations' if is_translation else 'transcriptions'}"
        headers = {"X-Progress-ID": request_id}
        async with self._http.post(url, data=form, headers=headers) as response:
            if response.status != 200:
                raise EngineError(_message(response.status, await response.text()))
            if response.content_type == EVENTS_TYPE:
                # Our own server sends a segment at a time, others send parts of words.
                is_ours = response.headers.get("x-request-id") == request_id
                return await _heard(response.content, view.say if is_ours else _keep_quiet)
            body = await response.text()
            return _text(body) if view.speaks else body

    def _form(self, view: View) -> aiohttp.FormData:
        form = aiohttp.FormData({"model": self._request.model})
        if view.speaks:  # every server that can stream does so with this format
            form.add_field("response_format", "json")
            form.add_field("stream", "true")
        else:
            form.add_field("response_format", self._format)
        if self._request.language:
            form.add_field("language", self._request.language)
        if self._request.prompt:
            form.add_field("prompt", self._request.prompt)
        if self._request.word_timestamps and self._format == "verbose_json":
            for granularity in ("word", "segment"):
                form.add_field("timestamp_granularities[]", granularity)
        return form

    @asynccontextmanager
    async def _progress(
        self, request_id: str, view: View
    ) -> AsyncIterator[Callable[[float], None]]:
        """Yield what is to be told the percentage that was sent; then the server is asked."""
        sent, tasks = asyncio.Event(), Tasks()

        def report(percent: float) -> None:
            view.show(State(stage="sending", percent=percent))
            if percent >= 100:
                sent.set()

        if view.is_seen:
            tasks.spawn(self._follow(request_id, sent, view), name="show progress")
        try:
            yield report
        finally:
            await tasks.close()

    async def _follow(self, request_id: str, sent: asyncio.Event, view: View) -> None:
        """Show what the server says of the request. Not all servers do: that is no error."""
        await sent.wait()
        url, headers = f"{self._url}/progress/{request_id}", {"Accept": EVENTS_TYPE}
        for pause_s in ASK_AGAIN_S:
            await asyncio.sleep(pause_s)
            try:
                async with self._http.get(url, headers=headers) as response:
                    if response.status != 404:
                        async for event in _events(response):
                            view.show(_state(event))
                        return
            except aiohttp.ClientError:
                return


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Mapping[str, Any]]:
    if response.status != 200 or response.content_type != EVENTS_TYPE:
        return
    stream = EventStream()
    async for piece in response.content.iter_any():
        for event in stream.feed(piece):
            yield event


async def _heard(content: aiohttp.StreamReader, say: Callable[[str], None]) -> str:
    stream = EventStream()
    async for piece in content.iter_any():
        for event in stream.feed(piece):
            match event:
                case {"type": "transcript.text.delta", "delta": str(delta)}:
                    say(delta)
                case {"type": "transcript.text.done", "text": str(text)}:
                    return text
                case {"error": {"message": str(message)}}:
                    raise EngineError(f"the server ended with: {message}")
    raise EngineError("the server's answer ended before it was complete")


def _keep_quiet(_text: str) -> None:
    """Print nothing before the whole text is there."""


def _state(event: Mapping[str, Any]) -> State:
    def known(name: str) -> Any:
        value = event.get(name)
        return value if isinstance(value, int | float) else None

    return State(
        stage=str(event.get("stage", "")),
        percent=known("percent") or None,
        position=known("queue_position"),
        estimate_s=known("estimate_seconds"),
    )


async def _blocks(path: Path, size: int, report: Callable[[float], None]) -> AsyncIterator[bytes]:
    sent = 0
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block
            sent += len(block)
            report(100 * sent / size)
    finally:
        await asyncio.to_thread(file.close)


def _text(body: str) -> str:
    """Return the text of a JSON answer; a server may send plain text all the same."""
    try:
        return str(json.loads(body)["text"])
    except (ValueError, KeyError, TypeError):
        return body


def _message(status: int, body: str) -> str:
    try:
        return f"the server answered {status}: {json.loads(body)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}"
