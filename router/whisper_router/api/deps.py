"""What the handlers need, as one value that `app` builds."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from whisper_router.api.audit import AuditLog
from whisper_router.api.client_secrets import ClientSecrets
from whisper_router.api.cors import CorsPolicy
from whisper_router.api.hosts import HostPolicy
from whisper_router.api.key_source import KeySource
from whisper_router.api.limits.keeper import UsageKeeper
from whisper_router.api.proxies import TrustedProxies
from whisper_router.api.rendering import Rendering
from whisper_router.api.services import (
    Fetcher,
    JobService,
    Live,
    ModelDirectory,
    Processes,
    Queues,
    Readiness,
    ServiceInfo,
    SpeakerFinder,
    SpeechFinder,
    System,
    Transcriber,
)
from whisper_router.audio.spool import Spool
from whisper_router.audio.upload import UploadLimits
from whisper_router.pipeline.activity import ActivityBoard
from whisper_router.pipeline.progress import ProgressBoard
from whisper_router.pipeline.relay import Relay
from whisper_router.pipeline.stages import Stages

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainLimits:
    """How much of a refused upload is read on, so that the client gets to see the refusal.

    `brief_s` is for what anybody may send, without a key, and only while it sends `least_bytes_s`.
    """

    limit_bytes: int = 256 * MIB
    timeout_s: float = 30.0
    brief_s: float = 5.0
    least_bytes_s: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveLimits:
    """How long a live client may say nothing, hear nothing of anybody, read nothing, and stay.

    The last of these is for realtime sessions. `look_at_key_s`: how often it is looked whether a
    session's key may still have it.
    """

    no_data_s: float = 1.0
    inactivity_s: float = 2.5
    write_timeout_s: float = 10.0
    max_session_s: float = 3600.0
    look_at_key_s: float = 1.0


class Dialect(StrEnum):
    """A server whose API is served beside our own."""

    INSANELY_FAST_WHISPER = "insanely_fast_whisper"
    SPEACHES = "speaches"
    WHISPER_ASR = "whisper_asr"
    WHISPER_CPP = "whisper_cpp"
    WHISPERX = "whisperx"


@dataclass(frozen=True, slots=True, kw_only=True)
class DialectOptions:
    """Which servers' APIs there are, and what is served as they do where they differ.

    `whisperx_root`: the OpenAI routes take the fields and give the answers of whisperX API server.
    `old_sse`: a stream is one whole answer per event, as that of faster-whisper-server was.
    """

    enabled: frozenset[Dialect] = frozenset(Dialect)
    whisperx_root: bool = False
    old_sse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiDeps:
    """Everything behind the API."""

    service: ServiceInfo
    transcriber: Transcriber
    speech: SpeechFinder
    speakers: SpeakerFinder
    live: Live
    relay: Relay
    models: ModelDirectory
    ready: Callable[[], Awaitable[Readiness]]
    spool: Spool
    upload_limits: UploadLimits
    keys: KeySource
    queues: Queues
    processes: Processes
    fetcher: Fetcher
    system: System
    stages: Stages = field(default_factory=Stages)
    jobs: JobService | None = None
    progress: ProgressBoard = field(default_factory=ProgressBoard)
    activity: ActivityBoard = field(default_factory=ActivityBoard)
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    hosts: HostPolicy = field(default_factory=HostPolicy)
    certificate_expires_s: Callable[[], float | None] = lambda: None
    """Until when the certificate is good, as Unix time; None: there is none."""
    rejected_files: Callable[[], Mapping[str, bool]] = dict
    """The files that are read while we run, and whether what they hold now is wrong."""
    drain: DrainLimits = field(default_factory=DrainLimits)
    live_limits: LiveLimits = field(default_factory=LiveLimits)
    client_secrets: ClientSecrets = field(default_factory=ClientSecrets)
    usage: UsageKeeper = field(default_factory=UsageKeeper)
    audit: AuditLog | None = None
    open_metrics: bool = False
    """Whether `/metrics` needs no key."""
    dialects: DialectOptions = field(default_factory=DialectOptions)
    rendering: Rendering = field(default_factory=Rendering)
    heartbeat_s: float = 15.0


DEPS = web.AppKey("deps", ApiDeps)
STOPPING = web.AppKey("stopping", asyncio.Event)
"""Is set when the server stops: what has no end of its own ends then."""
