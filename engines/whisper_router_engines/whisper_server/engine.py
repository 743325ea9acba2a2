"""The plugin class: one whisper-server process for each worker, asked over loopback."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from pydantic import BaseModel

from whisper_router.domain import Chunk, Task, TranscriptionRequest
from whisper_router.engine_api import (
    Capabilities,
    Endpoint,
    EndpointKind,
    EngineEvent,
    Launch,
    ReadyInfo,
    WorkerStarted,
)
from whisper_router.errors import EngineCrashed, EngineInterrupted, EngineRejected
from whisper_router.languages import LANGUAGES
from whisper_router_engines.wav import check_chunk, wav
from whisper_router_engines.whisper_server.answer import Answer
from whisper_router_engines.whisper_server.options import WhisperServerOptions
from whisper_router_engines.whispercpp.decoding import check_decoding
from whisper_router_engines.whispercpp.protocol import OrderError, full_prompt

KEEPER_MODULE = "whisper_router_engines.whisper_server.keeper"
PROBE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10.0
AS_BUILT = "as built"
"""Which device computes only the program's own log tells."""
REQUEST_PATH = f"/{secrets.token_hex(16)}"
"""whisper-server asks nobody for a key and allows every origin: a web page must not find it."""
UNCUT = "100000"
"""Characters of a segment: with 0 whisper-server cuts them after 60 when words are asked for."""

FIELDS: Mapping[str, str] = {
    "temperature": "temperature",
    "temperature_increment": "temperature_inc",
    "beam_size": "beam_size",
    "best_of": "best_of",
    "entropy_threshold": "entropy_thold",
    "logprob_threshold": "logprob_thold",
    "no_speech_threshold": "no_speech_thold",
    "suppress_nst": "suppress_nst",
}
"""Our decoding options as whisper-server names its form fields."""


class WhisperServer:
    """whisper.cpp's own server program. Stateless."""

    name: ClassVar[str] = "whisper_server"
    Options: ClassVar[type[BaseModel]] = WhisperServerOptions
    endpoint_kind: ClassVar[EndpointKind] = EndpointKind.TCP

    def bundled_models(self) -> Mapping[str, Path]:
        """Return none."""
        return {}

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch:
        """Return the command of one process. It computes one chunk at a time."""
        chosen = _checked(options)
        keeper = [sys.executable, "-P", "-m", KEEPER_MODULE, "--model", str(model)]
        if not chosen.threads:
            keeper += ["--share-of-cores", str(chosen.workers)]
        # Waiting threads that spin take the cores from everybody else on the machine.
        return Launch(
            argv=(*keeper, "--", chosen.binary, *_flags(chosen, endpoint)),
            env={"OMP_WAIT_POLICY": "passive"},
            workers=1,
            processes=chosen.workers,
        )

    def capabilities(self, options: BaseModel) -> Capabilities:
        """Return what whisper-server can do: everything at once, when it is done."""
        return Capabilities(
            tasks=frozenset(Task),
            streaming=False,
            word_timestamps=True,
            logprobs=False,
            languages=None,
            concurrency=_checked(options).workers,
            accelerators=frozenset({AS_BUILT}),
        )

    async def is_ready(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
        """Ask for `/health`. Its socket is there only once the model is loaded."""
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with http.get(
                f"{endpoint.url}{REQUEST_PATH}/health", timeout=timeout
            ) as response:
                is_ready = response.status == 200
        except TimeoutError:
            return None
        return ReadyInfo(accelerator=AS_BUILT, languages=frozenset(LANGUAGES)) if is_ready else None

    async def transcribe(
        self,
        http: aiohttp.ClientSession,
        endpoint: Endpoint,
        chunk: Chunk,
        request: TranscriptionRequest,
    ) -> AsyncIterator[EngineEvent]:
        """Send the chunk as a WAV and yield what the whole answer holds; see `Engine`."""
        form = _form(chunk, request)
        await asyncio.to_thread(check_chunk, chunk)
        yield WorkerStarted(pid=None)
        headers = {"X-Request-ID": request.request_id} if request.request_id else {}
        headers |= request.trace
        body = await _ask(http, endpoint, form, headers)
        answer = Answer(body=body, duration_s=chunk.duration_s, with_words=request.word_timestamps)
        try:
            language, segments = answer.language(), list(answer.segments())
        except (KeyError, TypeError, ValueError) as error:
            raise EngineCrashed("whisper-server's answer cannot be understood.") from error
        if request.language is not None and language.code != request.language:
            # It ignores the language, and translation, when the model knows only one.
            raise EngineRejected(
                f"this model hears {LANGUAGES[language.code]} only, not '{request.language}'",
                param="language",
            )
        yield language
        for segment in segments:
            yield segment


def _checked(options: BaseModel) -> WhisperServerOptions:
    if not isinstance(options, WhisperServerOptions):
        raise TypeError(f"options of another engine: {type(options).__name__}")
    return options


def _flags(chosen: WhisperServerOptions, endpoint: Endpoint) -> list[str]:
    host, _, port = endpoint.url.rpartition("/")[2].rpartition(":")
    flags = ["--host", host, "--port", port, "--request-path", REQUEST_PATH]
    for flag, value in (
        ("-bs", chosen.beam_size),
        ("-bo", chosen.best_of),
        ("-ac", chosen.audio_ctx),
        ("-mc", chosen.max_context_tokens),
        ("-et", chosen.entropy_threshold),
        ("-lpt", chosen.logprob_threshold),
        ("-nth", chosen.no_speech_threshold),
    ):
        flags += [flag, str(value)]
    # Builds that lack one of these flags work as long as nobody needs it.
    if chosen.gpu_device:
        flags += ["-dev", str(chosen.gpu_device)]
    if not chosen.flash_attn:
        flags.append("-nfa")
    if chosen.threads:
        flags += ["-t", str(chosen.threads)]
    if chosen.suppress_nst:
        flags.append("-sns")
    if not chosen.gpu:
        flags.append("-ng")
    return [*flags, *chosen.extra_args]


def _form(chunk: Chunk, request: TranscriptionRequest) -> aiohttp.FormData:
    """Return the body of `POST /inference`. What is not sent is what the program was started with.

    Up to whisper.cpp 1.8.4 what an aborted request has sent stays: temperatures are always sent.

    Raises:
        EngineRejected: the request asks for what whisper.cpp cannot do.
    """
    if request.language is not None and request.language not in LANGUAGES:
        raise EngineRejected(
            f"whisper.cpp knows no language '{request.language}'", param="language"
        )
    asked = {name: value for name, value in asdict(request.decoding).items() if value is not None}
    try:
        check_decoding(asked)
    except OrderError as error:
        raise EngineRejected(str(error)) from error
    if asked.get("temperature") and "temperature_increment" not in asked:
        asked["temperature_increment"] = 0.0  # meant as given: no fallback to others
    fields = {
        "temperature": "0",
        "temperature_inc": "0.2",
        "response_format": "verbose_json",
        "language": request.language or "auto",
        "translate": _spelt(request.task is Task.TRANSLATE),
        "prompt": full_prompt(request.hotwords, request.prompt),
        "token_timestamps": _spelt(request.word_timestamps),
        "max_len": UNCUT,
        "no_language_probabilities": "true",
    } | {FIELDS[name]: _spelt(value) for name, value in asked.items()}
    form = aiohttp.FormData(fields)
    form.add_field("file", wav(chunk), filename="chunk.wav", content_type="audio/wav")
    return form


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _ask(
    http: aiohttp.ClientSession,
    endpoint: Endpoint,
    form: aiohttp.FormData,
    headers: Mapping[str, str],
) -> Mapping[str, Any]:
    """Return the decoded answer.

    Raises:
        EngineInterrupted: nothing was sent.
        EngineCrashed: the answer ended early, or is an error.
    """
    # The caller knows the chunk's time budget, so only connecting is limited here.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
    url = f"{endpoint.url}{REQUEST_PATH}/inference"
    try:
        async with http.post(url, data=form, headers=headers, timeout=timeout) as response:
            if response.status != 200:  # its error texts are rewritten and say nothing
                raise EngineCrashed(f"whisper-server failed (HTTP status {response.status}).")
            body: object = await response.json(content_type=None)
    except aiohttp.ClientConnectorError as error:
        raise EngineInterrupted("whisper-server could not be reached.") from error
    except (aiohttp.ClientError, ConnectionError, EOFError) as error:
        raise EngineCrashed("whisper-server broke off its answer.") from error
    except ValueError as error:
        raise EngineCrashed("whisper-server's answer is no JSON.") from error
    if not isinstance(body, dict):
        raise EngineCrashed("whisper-server's answer is no JSON object.")
    return body
