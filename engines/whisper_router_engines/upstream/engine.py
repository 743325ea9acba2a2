"""The plugin class: servers elsewhere, asked over HTTP."""

import asyncio
import errno
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from pydantic import BaseModel, SecretStr

from whisper_router.domain import Chunk, Task, TranscriptionRequest
from whisper_router.engine_api import (
    Capabilities,
    Endpoint,
    EndpointKind,
    EngineEvent,
    Launch,
    ReadyInfo,
    RelayedAnswer,
    RelayedForm,
    WorkerStarted,
)
from whisper_router.errors import (
    EngineCrashed,
    EngineInterrupted,
    EngineRejected,
    EngineStartFailed,
    EngineTimeout,
    UpstreamRefused,
)
from whisper_router.languages import LANGUAGES
from whisper_router_engines.upstream.answer import Answer
from whisper_router_engines.upstream.multipart import Multipart
from whisper_router_engines.upstream.options import UpstreamOptions
from whisper_router_engines.upstream.refusals import (
    CLIENTS_FAULT,
    LOOP,
    OVERLOADED,
    REDIRECTS,
    REFUSED,
    refusal,
)
from whisper_router_engines.wav import check_chunk, wav

NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
REMOTE = "remote"
"""What computes there only that server knows."""
PROBE_TIMEOUT_S = 5.0
MAX_REFUSAL_BYTES = 1 << 16
MAX_ANSWER_BYTES = 16 << 20
EVENT_STREAM = "text/event-stream"
ROUTES: Mapping[Task, str] = {
    Task.TRANSCRIBE: "audio/transcriptions",
    Task.TRANSLATE: "audio/translations",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server(Endpoint):
    """One of an alias's servers, with its key."""

    options: UpstreamOptions
    key: SecretStr | None

    @property
    def headers(self) -> Mapping[str, str]:
        """What every request to it carries."""
        if self.key is None:
            return {}
        return {"Authorization": f"Bearer {self.key.get_secret_value()}"}

    @property
    def timeout(self) -> aiohttp.ClientTimeout:
        """Only connecting is limited: how long silence may last depends on what is sent."""
        return aiohttp.ClientTimeout(total=None, sock_connect=self.options.connect_timeout_s)


class Upstream:
    """Any server with the OpenAI audio API. Stateless."""

    name: ClassVar[str] = "upstream"
    Options: ClassVar[type[BaseModel]] = UpstreamOptions
    endpoint_kind: ClassVar[EndpointKind] = EndpointKind.TCP

    def bundled_models(self) -> Mapping[str, Path]:
        """Return none."""
        return {}

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch | None:
        """Return None: nothing is started here."""
        return None

    def endpoints(self, options: BaseModel) -> Sequence[Endpoint]:
        """Return each server."""
        chosen = _checked(options)
        return [
            Server(kind=EndpointKind.TCP, url=url, options=chosen, key=chosen.key(url))
            for url in chosen.base_urls
        ]

    def takes_forms(self, options: BaseModel) -> bool:
        """Tell whether uploads are sent on as they are."""
        return _checked(options).passthrough

    def wants_whole_forms(self, options: BaseModel) -> bool:
        """Tell whether they are sent with their length."""
        return not _checked(options).stream_upload

    def capabilities(self, options: BaseModel) -> Capabilities:
        """Return what any such server may be asked for; what it cannot do it says itself."""
        chosen = _checked(options)
        return Capabilities(
            tasks=frozenset(Task),
            streaming=False,
            word_timestamps=True,
            logprobs=False,
            languages=None,
            concurrency=chosen.concurrency * len(chosen.base_urls),
            accelerators=frozenset({REMOTE}),
        )

    async def is_ready(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
        """Ask for the list of models. A server without one is there, too, if it says so.

        Raises:
            EngineStartFailed: it refuses the key.
        """
        server = _server(endpoint)
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        async with http.get(
            f"{server.url}/models", headers=server.headers, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status in {401, 403} | REDIRECTS:
                answer = refusal(server.url, response.status, response.headers, b"", model="")
                raise EngineStartFailed(str(answer))
            is_ready = response.status < 500
        return ReadyInfo(accelerator=REMOTE, languages=frozenset(LANGUAGES)) if is_ready else None

    @asynccontextmanager
    async def relay(
        self, http: aiohttp.ClientSession, endpoint: Endpoint, form: RelayedForm
    ) -> AsyncIterator[RelayedAnswer]:
        """Send a form on while it arrives; see `RemoteEngine`."""
        server = _server(endpoint)
        silence, answered = asyncio.timeout(None), False
        loop, patience_s = asyncio.get_running_loop(), server.options.answer_timeout_s
        body = Multipart(
            form,
            model=server.options.remote_model,
            # An answer may come before the end of the upload, and has a time of its own then.
            on_piece=lambda: None if answered else silence.reschedule(loop.time() + patience_s),
        )
        headers = {**server.headers, **form.headers, "Content-Type": body.content_type}
        if not server.options.stream_upload:
            headers["Content-Length"] = str(await body.length())
        async with _errors(server, body), silence:
            silence.reschedule(loop.time() + patience_s)
            response = await http.post(
                f"{server.url}/{ROUTES[form.task]}",
                data=body.body(),
                headers=headers,
                timeout=server.timeout,
                allow_redirects=False,
            )
            answered = True
        async with response:
            if response.status != 200:
                raise await _refusal(server, response)
            yield RelayedAnswer(
                content_type=response.headers.get("Content-Type", "application/octet-stream"),
                is_stream=response.content_type == EVENT_STREAM,
                body=_pieces(server, response),
            )

    async def transcribe(
        self,
        http: aiohttp.ClientSession,
        endpoint: Endpoint,
        chunk: Chunk,
        request: TranscriptionRequest,
    ) -> AsyncIterator[EngineEvent]:
        """Send the chunk as a WAV and yield what the whole answer holds; see `Engine`."""
        server = _server(endpoint)
        form = _form(server, chunk, request)
        await asyncio.to_thread(check_chunk, chunk)
        headers = {**server.headers, **_told(request)}
        yield WorkerStarted(pid=None)
        patience = asyncio.timeout(server.options.answer_timeout_s)
        async with _errors(server), patience:
            response = await http.post(
                f"{server.url}/{ROUTES[request.task]}",
                data=form,
                headers=headers,
                timeout=server.timeout,
                allow_redirects=False,
            )
        async with response:
            if response.status != 200:
                raise _of_chunk(await _refusal(server, response))
            body = await _up_to(server, response, MAX_ANSWER_BYTES)
        if len(body) > MAX_ANSWER_BYTES:
            raise EngineCrashed(f"The answer of {server.url} is too large.")
        answer = Answer(
            body=_decoded(server, body), duration_s=chunk.duration_s, language=request.language
        )
        try:
            segments = list(answer.segments())
        except (KeyError, TypeError, ValueError) as error:
            raise EngineCrashed(f"The answer of {server.url} cannot be understood.") from error
        yield answer.detected()
        for segment in segments:
            yield segment


def _checked(options: BaseModel) -> UpstreamOptions:
    if not isinstance(options, UpstreamOptions):
        raise TypeError(f"options of another engine: {type(options).__name__}")
    return options


def _server(endpoint: Endpoint) -> Server:
    if not isinstance(endpoint, Server):
        raise TypeError(f"not one of this engine's endpoints: {endpoint!r}")
    return endpoint


@asynccontextmanager
async def _errors(server: Server, sent: Multipart | None = None) -> AsyncIterator[None]:
    """Give what goes wrong with a connection the names that the router knows.

    Raises:
        EngineInterrupted: no connection could be made.
        EngineCrashed: it broke.
        EngineTimeout: the server was silent for too long.
        Exception: what broke the upload that was being sent.
    """
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or error
        if number in NO_DESCRIPTORS:  # that is not the server's fault
            raise OSError(number, reason) from error
        raise EngineInterrupted(f"{server.url} cannot be reached: {reason}") from error
    except TimeoutError as error:
        raise EngineTimeout(
            f"{server.url} was silent for {server.options.answer_timeout_s:g} s "
            "(option `answer_timeout_s`)."
        ) from error
    except (aiohttp.ClientError, ConnectionError, EOFError) as error:
        if sent is not None and sent.error is not None:
            raise sent.error from None
        raise EngineCrashed(f"{server.url} broke off the connection.") from error


async def _pieces(server: Server, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    while True:
        async with _errors(server), asyncio.timeout(server.options.answer_timeout_s):
            piece = await response.content.readany()
        if not piece:
            return
        yield piece


async def _up_to(server: Server, response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """Return the body; what is larger is cut somewhere behind the limit."""
    body = bytearray()
    async for piece in _pieces(server, response):
        body += piece
        if len(body) > limit_bytes:
            break
    return bytes(body)


async def _refusal(server: Server, response: aiohttp.ClientResponse) -> UpstreamRefused:
    body = await _up_to(server, response, MAX_REFUSAL_BYTES)
    return refusal(
        server.url, response.status, response.headers, body, model=server.options.remote_model
    )


def _of_chunk(
    error: UpstreamRefused,
) -> EngineRejected | EngineCrashed | UpstreamRefused:
    """Return what an error means for a chunk: whether it is the reason, and may run elsewhere."""
    if error.status in CLIENTS_FAULT:
        return EngineRejected(str(error))
    is_passed_on = error.status in OVERLOADED | {LOOP} or error.code == REFUSED
    return error if is_passed_on else EngineCrashed(str(error))


def _told(request: TranscriptionRequest) -> Mapping[str, str]:
    """Return what the other server is told of a request, for its log and against loops."""
    told = {"Via": request.via, "X-Request-ID": request.request_id}
    return {name: value for name, value in told.items() if value} | dict(request.trace)


def _form(server: Server, chunk: Chunk, request: TranscriptionRequest) -> aiohttp.FormData:
    """Return the body for a chunk.

    Raises:
        EngineRejected: the request asks for a language that Whisper does not know.
    """
    if request.language is not None and request.language not in LANGUAGES:
        raise EngineRejected(f"unknown language '{request.language}'", param="language")
    words = ", ".join(request.hotwords)
    fields = {
        "model": server.options.remote_model,
        "response_format": "verbose_json",
        "prompt": f"{words}. {request.prompt}".strip() if words else request.prompt,
        "language": request.language or "",
    }
    fields |= {
        name: str(value).lower()
        for name, value in asdict(request.decoding).items()
        if value is not None
    }
    form = aiohttp.FormData({name: value for name, value in fields.items() if value})
    form.add_field("timestamp_granularities[]", "segment")
    if request.word_timestamps:
        form.add_field("timestamp_granularities[]", "word")
    form.add_field("file", wav(chunk), filename="chunk.wav", content_type="audio/wav")
    return form


def _decoded(server: Server, body: bytes) -> Mapping[str, Any]:
    try:
        decoded: object = json.loads(body)
    except ValueError as error:
        raise EngineCrashed(f"The answer of {server.url} is no JSON.") from error
    if not isinstance(decoded, dict):
        raise EngineCrashed(f"The answer of {server.url} is no JSON object.")
    return decoded
