"""The HTTP API on a real socket, before a recogniser that knows the bundled samples by heart.

It is for tests of HTTP: uploads, answers, streams and errors are real, hearing is not.
"""

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from whisper_router.api.audit import AuditLog
from whisper_router.api.certificates import Certificates
from whisper_router.api.connection import ConnectionLimits
from whisper_router.api.cors import CorsPolicy
from whisper_router.api.crowd import CrowdLimits
from whisper_router.api.deps import ApiDeps, DialectOptions, DrainLimits, LiveLimits
from whisper_router.api.hosts import HostPolicy
from whisper_router.api.key_source import FixedKeys, KeySource
from whisper_router.api.limits.keeper import UsageKeeper
from whisper_router.api.proxies import TrustedProxies
from whisper_router.api.routes import build_api
from whisper_router.api.runner import ApiRunner
from whisper_router.api.services import (
    Finding,
    JobService,
    Live,
    ModelEntry,
    ModelFile,
    Processes,
    Readiness,
    ServiceInfo,
    Verdict,
)
from whisper_router.audio.fetch_url import FetchLimits, UrlFetcher
from whisper_router.audio.media import Span, VadOptions
from whisper_router.audio.outbound import Outbound, OutboundOptions
from whisper_router.audio.spool import Spool
from whisper_router.audio.upload import UploadLimits
from whisper_router.domain import (
    AudioFound,
    AudioReady,
    LanguageDetected,
    Segment,
    SpeakerOptions,
    Task,
    TokenLogprob,
    TranscriptEvent,
    TranscriptionRequest,
    Word,
)
from whisper_router.errors import (
    AudioTooShort,
    AudioUndecodable,
    EngineCrashed,
    EngineStartFailed,
    ModelInUse,
    ModelNotFound,
    PermissionDenied,
)
from whisper_router.live.session import LiveOptions
from whisper_router.models.download import DownloadProgress, OnProgress
from whisper_router.pipeline.chunk import ChunkBudget
from whisper_router.pipeline.live import LiveDefaults, LiveSessions
from whisper_router.pipeline.progress import Stage, Tracker
from whisper_router.pipeline.relay import Relay
from whisper_router.pipeline.stages import Stages
from whisper_router.pipeline.transcribe import MediaSource
from whisper_router.pipeline.turns import SpeakerTurn, SpeakerTurns
from whisper_router.plugins import load_alignments, load_diarizations
from whisper_router.scheduling.dispatch import Dispatcher, Dispatchers, QueueLimits
from whisper_router.supervisor.budgets import MemoryUse
from whisper_router.supervisor.pool import ModelPool
from whisper_router.supervisor.status import PoolBrief, PoolStatus

DEMO = Path(__file__).parents[2] / "engines/whisper_router_engines/whispercpp/demo"
SAMPLES: Sequence[Mapping[str, Any]] = json.loads((DEMO / "samples.json").read_text("utf-8"))
STAGES = Stages(
    alignments=load_alignments(), diarizations=load_diarizations(), diarization="channels"
)
GOOD, HELD, SECOND = "whisper-1", "held", "second-name"
NO_START, LATE_CRASH, LATE_BUG, BUG = "no-start", "late-crash", "late-bug", "bug"


def sample_path(name: str) -> Path:
    """Return the audio file of a sample."""
    return DEMO / "samples" / name


def sample(name: str) -> Mapping[str, Any]:
    """Return what is known of a sample."""
    return next(item for item in SAMPLES if item["file"] == name)


class Recogniser:
    """Knows every sample's text. Some model names make it misbehave.

    `held`: stops after the first segment until `release` is set; the others: see `_misbehave`.
    `reached` is set when it stops there, `closed` when a generator of its own has ended.
    """

    def __init__(self) -> None:
        self.requests: list[TranscriptionRequest] = []
        self.media: list[tuple[MediaSource, int]] = []
        self.reached, self.release, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def check(self, request: TranscriptionRequest) -> None:
        """Accept what the installed stages can do."""
        STAGES.check(request)

    async def run(
        self, request: TranscriptionRequest, media: MediaSource, tracker: Tracker | None = None
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Yield the events of the sample whose bytes were uploaded."""
        self.requests.append(request)
        try:
            data = await asyncio.to_thread(media.path.read_bytes)
            self.media.append((media, len(data)))
            found = await asyncio.to_thread(_recognise, data)
            if tracker is not None:  # as long as it is told in the file's head
                seconds = found["seconds"]
                tracker.update(
                    stage=Stage.DECODING, duration_s=seconds, decoded_s=seconds, left_s=0.0
                )
            yield AudioFound()
            if request.model == NO_START:
                raise EngineStartFailed("The engine of 'no-start' ended with SIGILL.")
            if found["text"]:
                yield LanguageDetected(code=request.language or found["language"], probability=0.9)
            segments = _segments(found, request)
            for number, segment in enumerate(segments):
                if number:
                    await self._misbehave(request.model)
                if tracker is not None:
                    whole, done = float(len(segments)), number + 1.0
                    tracker.update(
                        stage=Stage.TRANSCRIBING, speech_s=whole, left_s=0.0, done_s=done
                    )
                yield segment
            await self._misbehave(request.model)
            yield AudioReady(duration_s=found["seconds"], speech_s=None)
        finally:
            self.closed.set()

    async def _misbehave(self, model: str) -> None:
        match model:
            case "held":
                self.reached.set()
                await self.release.wait()
            case "late-crash":
                raise EngineCrashed("The engine's answer ended before it was complete.")
            case "late-bug" | "bug":
                raise ZeroDivisionError("secret of the house")


def _recognise(data: bytes) -> Mapping[str, Any]:
    if len(data) < 100:
        raise AudioTooShort("Audio file is too short. Minimum audio length is 0.1 seconds.")
    digest = hashlib.sha256(data).digest()
    for item in SAMPLES:
        if hashlib.sha256(sample_path(item["file"]).read_bytes()).digest() == digest:
            return item
    raise AudioUndecodable("The file could not be decoded. Is it audio?")


def _segments(found: Mapping[str, Any], request: TranscriptionRequest) -> Sequence[Segment]:
    pieces: Sequence[Mapping[str, Any]] = found["segments"]
    if request.task is Task.TRANSLATE and "translation" in found:
        pieces = [{**pieces[0], "text": found["translation"]}]
    return [_segment(piece, request) for piece in pieces]


def _segment(piece: Mapping[str, Any], request: TranscriptionRequest) -> Segment:
    names, start_s = piece["text"].split(), piece["start"]
    step_s = (piece["end"] - start_s) / max(1, len(names))
    words = [
        Word(
            text=name,
            start_s=start_s + number * step_s,
            end_s=start_s + (number + 1) * step_s,
            probability=0.9,
        )
        for number, name in enumerate(names)
    ]
    logprobs = [TokenLogprob(token=f" {n}", logprob=-0.1, data=f" {n}".encode()) for n in names]
    return Segment(
        start_s=start_s,
        end_s=piece["end"],
        text=f" {piece['text']}",
        tokens=tuple(range(len(names))),
        words=words if request.word_timestamps else (),
        logprobs=logprobs if request.logprobs else (),
        temperature=request.decoding.temperature or 0.0,
    )


class KnownSpeech:
    """Knows where every sample's speech is; keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[VadOptions, float]] = []

    async def find(
        self, media: MediaSource, vad: VadOptions, *, longest_s: float = math.inf
    ) -> Sequence[Span]:
        """Return the segments of the sample whose bytes were uploaded."""
        self.asked.append((vad, longest_s))
        found = await asyncio.to_thread(lambda: _recognise(media.path.read_bytes()))
        pieces: Sequence[Mapping[str, Any]] = found["segments"]
        return [Span(start_s=piece["start"], end_s=piece["end"]) for piece in pieces]


class OneSpeaker:
    """Hears one speaker, from the beginning to the end."""

    async def find(self, media: MediaSource, wanted: SpeakerOptions) -> SpeakerTurns:
        """Return the turn of the sample whose bytes were uploaded."""
        found = await asyncio.to_thread(lambda: _recognise(media.path.read_bytes()))
        name = wanted.names[0] if wanted.names else "A"
        turn = SpeakerTurn(start_s=0.0, end_s=found["seconds"], speaker=name)
        return SpeakerTurns(duration_s=found["seconds"], turns=[turn])


class Names:
    """A directory of made-up aliases, one with slashes and a colon in it.

    `held` is in use. `absent/tiny` is not here until it is downloaded; the rest cannot be removed.
    """

    listed = (GOOD, "org/model:q5")
    hidden = (HELD, NO_START, LATE_CRASH, LATE_BUG, BUG, SECOND)
    remote = ("absent/tiny",)

    def check(self, name: str) -> None:
        """Accept any of them."""
        if name not in (*self.listed, *self.hidden, *self.remote):
            raise ModelNotFound(f"The model '{name}' does not exist")

    def __init__(self) -> None:
        self.kept_alive: list[tuple[str, float | None]] = []
        self.running: set[str] = {HELD}
        self.downloaded: set[str] = set()

    def alias(self, name: str) -> str:
        """Return the name; `second-name` is another one of the first model."""
        self.check(name)
        return GOOD if name == SECOND else name

    def failing(self) -> Sequence[str]:
        """Return none."""
        return []

    @contextmanager
    def in_use(self, name: str, keep_alive_s: float | None) -> Iterator[None]:
        """Note what was asked for when the request has ended."""
        try:
            yield
        finally:
            self.kept_alive.append((name, keep_alive_s))

    async def models(self) -> Sequence[ModelEntry]:
        """Return the listed ones."""
        return [self._entry(name) for name in self.listed]

    async def model(self, name: str) -> ModelEntry:
        """Return any of them."""
        self.check(name)
        return self._entry(name)

    async def catalogue(self) -> Sequence[ModelEntry]:
        """Return those that are listed and those that could be downloaded."""
        return [self._entry(name) for name in (*self.listed, *self.remote)]

    def loaded(self) -> Sequence[str]:
        """Return those that were loaded, and the one that is always in use."""
        return sorted(self.running)

    async def load(self, name: str) -> bool:
        """Note that it is loaded."""
        self.check(name)
        was_loaded = name in self.running
        self.running.add(name)
        return not was_loaded

    async def unload(self, name: str) -> bool:
        """Note that it is not loaded."""
        self.check(name)
        if name == HELD:
            raise ModelInUse(f"The model '{name}' is in use. Try again later.")
        was_loaded = name in self.running
        self.running.discard(name)
        return was_loaded

    async def download(self, name: str) -> bool:
        """Note that it is here."""
        self.check(name)
        is_new = name in self.remote and name not in self.downloaded
        self.downloaded.add(name)
        return is_new

    async def pull(self, name: str, on_progress: OnProgress | None = None) -> bool:
        """Note that it is here; it came in one piece."""
        if on_progress is not None:
            done = DownloadProgress(done_bytes=7, total_bytes=7, bytes_per_s=7.0, waiting=False)
            on_progress(done)
        return await self.download(name)

    async def remove(self, name: str) -> None:
        """Note that it is not here."""
        self.check(name)
        if name not in self.remote:
            raise PermissionDenied(f"The model '{name}' was not fetched by this server.")
        if name not in self.downloaded:
            raise ModelNotFound(f"The file of the model '{name}' is not here.")
        self.downloaded.remove(name)

    def _entry(self, name: str) -> ModelEntry:
        extra = {"engine": "samples", "state": "ready"}
        return ModelEntry(
            id=name, created=1_790_000_000, owned_by="house", languages=["en", "de"], extra=extra
        )


def no_queues() -> Dispatchers:
    """Queues of no alias at all: nothing waits."""

    def no_pool(name: str) -> ModelPool:
        raise ModelNotFound(name)

    return Dispatchers(no_pool, QueueLimits(max_chunks=1, max_requests=1, timeout_s=1))


class NoProcesses:
    """Knows no alias."""

    async def statuses(self) -> Sequence[PoolStatus]:
        """Return none."""
        return []

    def pool(self, name: str) -> ModelPool:
        """Find none."""
        raise ModelNotFound(f"The model '{name}' does not exist.")

    async def files(self, aliases: Sequence[str]) -> Mapping[str, ModelFile]:
        """Find none."""
        return {alias: ModelFile(is_present=False) for alias in aliases}

    def memory(self) -> MemoryUse:
        """Return none."""
        return MemoryUse(budget_bytes=None, used_bytes=0)

    def briefs(self) -> Mapping[str, PoolBrief]:
        """Return none."""
        return {}

    def config(self) -> Mapping[str, object]:
        """Return something."""
        return {"default_model": GOOD}

    async def reload(self) -> Mapping[str, Sequence[str]]:
        """Find nothing changed."""
        return {"changed": []}


class PlainSystem:
    """A machine with nothing wrong but its clock."""

    async def describe(self) -> Mapping[str, object]:
        """Return its version."""
        return {"version": "0.0.1"}

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """Find two things."""
        yield Finding(verdict=Verdict.GOOD, subject="cpu", text="4 cores")
        yield Finding(verdict=Verdict.WARNING, subject="clock", text="it is late")


@dataclass(kw_only=True)
class Setup:
    """What a test may want to be different."""

    keys: KeySource = field(default_factory=lambda: FixedKeys([]))
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    readiness: Readiness = field(default_factory=lambda: Readiness(ok=True))
    max_upload_bytes: int = 8 << 20
    heartbeat_s: float = 15.0
    drain: DrainLimits = field(default_factory=DrainLimits)
    lingering_s: float = 10.0
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)
    crowd: CrowdLimits = field(default_factory=CrowdLimits)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    hosts: HostPolicy = field(default_factory=HostPolicy)
    certificates: Certificates | None = None
    live: Live | None = None
    live_limits: LiveLimits = field(default_factory=LiveLimits)
    jobs: JobService | None = None
    open_metrics: bool = False
    dialects: DialectOptions = field(default_factory=DialectOptions)
    processes: Processes = field(default_factory=NoProcesses)
    usage: UsageKeeper = field(default_factory=UsageKeeper)
    audit: AuditLog | None = None
    queues: Dispatchers = field(default_factory=no_queues)

    async def is_ready(self) -> Readiness:
        """Return what the test wants."""
        return self.readiness


@dataclass(kw_only=True)
class Api:
    """A running API."""

    host: str
    port: int
    recogniser: Recogniser
    spool: Spool
    names: Names
    speech: KnownSpeech
    app: web.Application
    scheme: str = "http"

    @property
    def root(self) -> str:
        """The server, without a path."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return f"{self.root}/v1"


def _nobody_else(name: str) -> Dispatcher:
    raise ModelNotFound(f"The model '{name}' does not exist.")


def _no_live(spool: Spool) -> LiveSessions:
    return LiveSessions(
        spool=spool,
        dispatcher_of=_nobody_else,
        most_of=lambda _alias: 0,
        limits=LiveDefaults(options=LiveOptions(), budget=ChunkBudget(floor_s=60.0, factor=0.0)),
    )


Start = Callable[[Setup], AbstractAsyncContextManager[Api]]


@asynccontextmanager
async def serve_api(directory: Path, setup: Setup) -> AsyncIterator[Api]:
    """Serve on a free loopback port, with the runner's settings of the real server."""
    spool = await asyncio.to_thread(Spool.create, directory)
    recogniser, names, speech = Recogniser(), Names(), KnownSpeech()
    deps = ApiDeps(
        service=ServiceInfo(name="whisper-router", version="0.0.1", docs="docs/api.md"),
        transcriber=recogniser,
        speech=speech,
        speakers=OneSpeaker(),
        stages=STAGES,
        live=setup.live or _no_live(spool),
        live_limits=setup.live_limits,
        jobs=setup.jobs,
        open_metrics=setup.open_metrics,
        system=PlainSystem(),
        fetcher=UrlFetcher(Outbound(OutboundOptions()), FetchLimits()),
        relay=Relay(_nobody_else),
        models=names,
        ready=setup.is_ready,
        queues=setup.queues,
        processes=setup.processes,
        spool=spool,
        upload_limits=UploadLimits(
            max_upload_bytes=setup.max_upload_bytes,
            idle_timeout_s=10.0,
            extensions=frozenset({"wav", "mp3"}),
        ),
        keys=setup.keys,
        usage=setup.usage,
        audit=setup.audit,
        cors=setup.cors,
        proxies=setup.proxies,
        hosts=setup.hosts,
        drain=setup.drain,
        dialects=setup.dialects,
        heartbeat_s=setup.heartbeat_s,
    )
    app, tls = build_api(deps), setup.certificates
    runner = ApiRunner(
        app,
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=1.0,
        lingering_time=setup.lingering_s,
        limits=setup.connections,
        crowd=setup.crowd,
        tls_context=tls and (lambda: tls.pair.context),
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield Api(
            host=host,
            port=port,
            recogniser=recogniser,
            spool=spool,
            names=names,
            speech=speech,
            app=app,
            scheme="https" if tls else "http",
        )
    finally:
        await runner.cleanup()
        await asyncio.to_thread(spool.close)
