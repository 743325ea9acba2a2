"""Transcribes files through a server that speaks the OpenAI audio API."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from whisper_router.domain import Task, TranscriptionRequest
from whisper_router.errors import EngineError, Unavailable

BLOCK_BYTES = 1 << 16
CONNECT_S = 10.0


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
        """Open a session for `url`, with or without `/v1` at its end."""
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        base = url.rstrip("/")
        base = base if base.endswith("/v1") else f"{base}/v1"
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            yield cls(http, base, request, response_format)

    async def recognise(self, path: Path, report: Callable[..., None]) -> str:
        """Return the server's answer for `path`; progress counts the bytes sent.

        Raises:
            Unavailable: the server cannot be reached.
            EngineError: it answered with an error; the message is its own.
        """
        task = self._request.task
        route = "translations" if task is Task.TRANSLATE else "transcriptions"
        size = (await asyncio.to_thread(path.stat)).st_size
        form = self._form()
        form.add_field("file", _blocks(path, size, report), filename=path.name)
        try:
            async with self._http.post(f"{self._url}/audio/{route}", data=form) as response:
                body = await response.text()
                if response.status != 200:
                    raise EngineError(_message(response.status, body))
                return body
        except aiohttp.ClientError as error:
            raise Unavailable(f"{self._url}: {error}") from error

    def _form(self) -> aiohttp.FormData:
        form = aiohttp.FormData({"model": self._request.model, "response_format": self._format})
        if self._request.language:
            form.add_field("language", self._request.language)
        if self._request.prompt:
            form.add_field("prompt", self._request.prompt)
        if self._request.word_timestamps and self._format == "verbose_json":
            for granularity in ("word", "segment"):
                form.add_field("timestamp_granularities[]", granularity)
        return form


async def _blocks(path: Path, size: int, report: Callable[..., None]) -> AsyncIterator[bytes]:
    sent = 0
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block
            sent += len(block)
            report(done_s=sent, total_s=size)
    finally:
        await asyncio.to_thread(file.close)


def _message(status: int, body: str) -> str:
    try:
        return f"the server answered {status}: {json.loads(body)['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered {status}"
