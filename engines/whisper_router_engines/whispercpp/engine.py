"""The plugin class. Runs in the router, so it imports neither numpy nor pywhispercpp."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
from pydantic import BaseModel

from whisper_router.domain import Chunk, LanguageDetected, Task, TranscriptionRequest
from whisper_router.engine_api import (
    Capabilities,
    Endpoint,
    EndpointKind,
    EngineEvent,
    Launch,
    ReadyInfo,
    WorkerStarted,
)
from whisper_router.errors import (
    ConfigurationError,
    EngineCrashed,
    EngineOutOfMemory,
    EngineRejected,
    EngineStartFailed,
)
from whisper_router_engines.whispercpp.loss import explain_loss
from whisper_router_engines.whispercpp.options import Acceleration, WhisperCppOptions
from whisper_router_engines.whispercpp.protocol import order_json, parse_segment

WORKER_MODULE = "whisper_router_engines.whispercpp.worker"
DEMO_MODEL = Path(__file__).parent / "demo" / "ggml-phonebook-q5_1.bin"
PROBE_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 10.0
DEVICES_TIMEOUT_S = 60.0
"""How long `--probe` may take: the first use of a GPU's driver can take half a minute."""
SPINS = 300
"""How often a waiting thread of GCC's OpenMP looks again before it sleeps: some microseconds.

The threads of a worker wait for each other after each of a model's operations. Measured with two:
on idle cores, sleeping at once makes a chunk 20 % slower. Beside programs that use both cores 300
rounds make it 4 % slower, 1,000 rounds 15 %, and the library's own 300,000 more than 100 %.
"""

_LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError)


class WhisperCpp:
    """whisper.cpp in worker processes of our own. Stateless."""

    name: ClassVar[str] = "whispercpp"
    Options: ClassVar[type[BaseModel]] = WhisperCppOptions
    endpoint_kind: ClassVar[EndpointKind] = EndpointKind.UNIX

    def bundled_models(self) -> Mapping[str, Path]:
        """Return the phonebook model; `samples.json` and its recordings lie beside the file."""
        return {"demo": DEMO_MODEL}

    def launch(self, model: Path, options: BaseModel, endpoint: Endpoint) -> Launch:
        """Return the worker's command: pre-forked workers, or a process each with a GPU."""
        chosen = _checked(options)
        shared = sys.platform == "linux" and chosen.acceleration in (
            Acceleration.AUTO,
            Acceleration.NONE,
        )
        workers, processes = (chosen.workers, 1) if shared else (1, chosen.workers)
        argv = [sys.executable, "-P", "-m", WORKER_MODULE, "--model", str(model)]
        argv += ["--socket", str(endpoint.socket), "--workers", str(workers)]
        argv += ["--options", chosen.model_dump_json()]
        # Waiting threads that spin for long take the cores from everybody else on the machine.
        env = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": str(SPINS)}
        env["OPENBLAS_NUM_THREADS"] = "1"
        if chosen.threads:
            env["OMP_NUM_THREADS"] = str(chosen.threads)
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # so that devices have the numbers of nvidia-smi
        on_gpu = chosen.acceleration in (Acceleration.CUDA, Acceleration.VULKAN)
        return Launch(
            argv=tuple(argv),
            env=env,
            workers=workers,
            processes=processes,
            gpu=chosen.gpu_device if on_gpu else None,
        )

    def capabilities(self, options: BaseModel) -> Capabilities:
        """Return what whisper.cpp can do; the model decides about languages and translation."""
        chosen = _checked(options)
        accelerators = {
            Acceleration.AUTO: {"cpu", "cuda", "vulkan", "metal"},
            Acceleration.NONE: {"cpu"},
        }.get(chosen.acceleration, {chosen.acceleration.value})
        return Capabilities(
            tasks=frozenset(Task),
            streaming=True,
            word_timestamps=True,
            logprobs=True,
            languages=None,
            concurrency=chosen.workers,
            accelerators=frozenset(accelerators),
        )

    async def is_ready(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> ReadyInfo | None:
        """Ask for `/health`. A worker answers it between two chunks, so only while idle."""
        timeout = aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)
        try:
            async with http.get(f"{endpoint.url}/health", timeout=timeout) as response:
                body = await response.json()
        except TimeoutError:
            return None
        return ReadyInfo(
            accelerator=body["accelerator"],
            languages=frozenset(body["languages"]),
            details=body["details"],
        )

    async def probe(self) -> Mapping[str, str]:
        """Return what this build of whisper.cpp can use here: version, GPUs, cores, features.

        Raises:
            EngineStartFailed: the worker program does not run here.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", WORKER_MODULE, "--probe"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(DEVICES_TIMEOUT_S):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise EngineStartFailed("the worker's --probe does not end") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            last = errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise EngineStartFailed(f"the worker's --probe ended with {process.returncode}: {last}")
        return _described(json.loads(output.splitlines()[-1]))

    async def transcribe(
        self,
        http: aiohttp.ClientSession,
        endpoint: Endpoint,
        chunk: Chunk,
        request: TranscriptionRequest,
    ) -> AsyncIterator[EngineEvent]:
        """Send the chunk to a worker and yield its events; see `Engine.transcribe`."""
        sent_s, worker = time.monotonic(), None
        try:
            async with aclosing(_events(http, endpoint, order_json(chunk, request))) as events:
                async for event in events:
                    if isinstance(event, WorkerStarted):
                        worker = event.pid
                    yield event
        except _LOST as error:
            raise await explain_loss(worker, endpoint, since_s=sent_s) from error
        except (ValueError, KeyError, TypeError) as error:
            raise EngineCrashed("The engine's answer cannot be understood.") from error


def _checked(options: BaseModel) -> WhisperCppOptions:
    if not isinstance(options, WhisperCppOptions):
        raise TypeError(f"options of another engine: {type(options).__name__}")
    if options.acceleration is Acceleration.METAL and sys.platform != "darwin":
        raise ConfigurationError("acceleration = 'metal' exists on macOS only")
    if options.acceleration is Acceleration.CUDA and sys.platform == "darwin":
        raise ConfigurationError("acceleration = 'cuda' does not exist on macOS")
    return options


def _described(found: Mapping[str, Any]) -> Mapping[str, str]:
    gpus = [f"{gpu['kind']} ({gpu['name']}: {gpu['description']})" for gpu in found["gpus"]]
    return {
        "whisper.cpp": found["whisper_cpp"],
        "accelerators": ", ".join([*gpus, "cpu"]),
        "physical cores": str(found["physical_cores"]),
        "built for": found["system_info"],
    }


async def _events(
    http: aiohttp.ClientSession, endpoint: Endpoint, order: Mapping[str, Any]
) -> AsyncGenerator[EngineEvent]:
    """Yield what a worker says until it is done.

    Raises:
        ConnectionError, aiohttp.ClientError: the answer ended early.
        ValueError, KeyError, TypeError: it cannot be understood.
        EngineError: the worker says that it failed.
    """
    # The caller knows the chunk's time budget, so only connecting is limited here.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
    async with (
        http.post(f"{endpoint.url}/transcribe", json=order, timeout=timeout) as response,
        aclosing(_lines(response)) as lines,
    ):
        try:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            async for line in lines:
                event = json.loads(line)
                if event["event"] == "done":
                    return
                yield _parse_event(event)
        finally:
            response.close()
    raise ConnectionResetError("the answer has no end")


async def _lines(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    """Yield whole lines of any length; a last one without its end is dropped."""
    rest = b""
    async for data in response.content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line


def _parse_event(event: Mapping[str, Any]) -> EngineEvent:
    """Return the event as a value.

    Raises:
        EngineError: the event says that the worker failed.
    """
    match event["event"]:
        case "started":
            return WorkerStarted(pid=event["pid"])
        case "language":
            return LanguageDetected(code=event["code"], probability=event["probability"])
        case "segment":
            return parse_segment(event)
        case "error" if event["code"] == "rejected":
            raise EngineRejected(event["message"], param=event["param"])
        case "error":
            failure = EngineOutOfMemory if event["code"] == "out_of_memory" else EngineCrashed
            raise failure(event["message"])
        case other:
            raise ValueError(other)
