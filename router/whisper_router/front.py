"""What `serve` puts in front of the router: the parts of the API, from the settings."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from whisper_router.api.audit import AuditLog
from whisper_router.api.certificates import Certificates
from whisper_router.api.cors import CorsPolicy
from whisper_router.api.deps import ApiDeps, DialectOptions, LiveLimits
from whisper_router.api.key_source import FixedKeys, KeyFile, KeySource
from whisper_router.api.limits.keeper import UsageKeeper, open_usage
from whisper_router.api.services import ServiceInfo
from whisper_router.api.wyoming.service import WyomingLimits, WyomingService
from whisper_router.app import Router
from whisper_router.audio.fetch_url import FetchLimits, UrlFetcher
from whisper_router.audio.outbound import Outbound, OutboundOptions
from whisper_router.audio.upload import UploadLimits
from whisper_router.control import Control
from whisper_router.directory import Directory
from whisper_router.jobs.runner import JobRunner
from whisper_router.listening import host_policy, trusted_proxies, wyoming_clients
from whisper_router.pipeline.activity import ActivityBoard
from whisper_router.pipeline.speech import SpeechFinder
from whisper_router.pipeline.turns import SpeakerFinder
from whisper_router.places import usage_file
from whisper_router.settings import Settings
from whisper_router.system import SystemReport

DOCS = "docs/ of the source, share/whisper-router/docs of an installation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What is behind the API besides the router itself."""

    keys: KeySource
    control: Control
    jobs: JobRunner | None
    usage: UsageKeeper
    audit: AuditLog | None
    fetcher: UrlFetcher
    activity: ActivityBoard
    certificates: Certificates | None = None


def api_deps(router: Router, directory: Directory, behind: Behind) -> ApiDeps:
    """Return everything behind the API."""
    settings = router.settings
    return ApiDeps(
        service=about(),
        transcriber=router.transcriber,
        speech=SpeechFinder(router.media, router.spool),
        speakers=SpeakerFinder(router.media, router.spool, router.stages),
        live=router.live,
        relay=router.relay,
        models=directory,
        ready=directory.ready,
        spool=router.spool,
        upload_limits=UploadLimits(
            max_upload_bytes=settings.server.max_upload_bytes,
            idle_timeout_s=settings.server.upload_idle_timeout_s,
            min_bytes_s=settings.server.upload_min_bytes_s,
            extensions=_extensions(settings),
        ),
        live_limits=LiveLimits(
            no_data_s=settings.live.no_data_s,
            inactivity_s=settings.live.inactivity_s,
            write_timeout_s=settings.live.write_timeout_s,
            max_session_s=settings.live.max_session_s,
        ),
        keys=behind.keys,
        queues=router.dispatchers,
        processes=behind.control,
        fetcher=behind.fetcher,
        stages=router.stages,
        jobs=behind.jobs,
        usage=behind.usage,
        audit=behind.audit,
        activity=behind.activity,
        system=SystemReport(router),
        cors=CorsPolicy(origins=settings.server.cors_origins),
        proxies=trusted_proxies(settings),
        hosts=host_policy(settings),
        certificate_expires_s=_expires(behind.certificates),
        rejected_files=_rejected(behind),
        open_metrics=settings.metrics.open,
        dialects=DialectOptions(
            enabled=frozenset(settings.dialects.enabled),
            whisperx_root=settings.dialects.whisperx_root,
            old_sse=settings.dialects.old_sse,
        ),
    )


def key_source(settings: Settings) -> KeySource:
    """Return where the keys come from. Blocking. Raises ConfigurationError."""
    secret = settings.auth.api_key
    plain = [secret.get_secret_value()] if secret and secret.get_secret_value() else []
    if settings.auth.keys_file is None:
        return FixedKeys(plain)
    return KeyFile(settings.auth.keys_file.expanduser(), plain=plain)


def usage_keeper(settings: Settings, *, is_kept: bool) -> AbstractAsyncContextManager[UsageKeeper]:
    """Return what counts what keys use, to be entered; it raises ConfigurationError."""
    path = usage_file(settings) if is_kept else None
    return open_usage(path, is_wanted=settings.auth.usage_file is not None)


@asynccontextmanager
async def audit_log(settings: Settings) -> AsyncIterator[AuditLog | None]:
    """Write the audit's file until the block ends; None: there is none.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if settings.audit.file is None:
        yield None
        return
    audit = await asyncio.to_thread(AuditLog, settings.audit.file.expanduser())
    try:
        yield audit
    finally:
        await asyncio.to_thread(audit.close)


def _expires(certificates: Certificates | None) -> Callable[[], float | None]:
    return lambda: None if certificates is None else certificates.pair.expires_s


def _rejected(behind: Behind) -> Callable[[], Mapping[str, bool]]:
    files: dict[str, Certificates | KeyFile] = {}
    if isinstance(behind.keys, KeyFile):
        files["keys"] = behind.keys
    if behind.certificates is not None:
        files["certificate"] = behind.certificates
    return lambda: {name: file.rejected is not None for name, file in files.items()}


def outbound_of(settings: Settings) -> Outbound:
    """Return the way to addresses that clients name."""
    return Outbound(
        OutboundOptions(
            allow_private=settings.outbound.allow_private,
            allowed_hosts=settings.outbound.allowed_hosts,
        )
    )


def fetch_limits(settings: Settings) -> FetchLimits:
    """Return the limits of audio that is fetched."""
    return FetchLimits(
        max_bytes=settings.server.max_upload_bytes,
        timeout_s=settings.outbound.url_timeout_s,
        idle_timeout_s=settings.server.upload_idle_timeout_s,
        extensions=_extensions(settings),
    )


def wyoming_service(
    router: Router, directory: Directory, activity: ActivityBoard
) -> WyomingService:
    """Return what serves Wyoming's clients."""
    return WyomingService(
        about=about(),
        live=router.live,
        models=directory,
        activity=activity,
        limits=WyomingLimits(
            max_audio_s=router.settings.wyoming.max_audio_s,
            write_timeout_s=router.settings.live.write_timeout_s,
            max_connections=wyoming_clients(),
        ),
    )


def _extensions(settings: Settings) -> frozenset[str]:
    return frozenset(item.lower() for item in settings.audio.extensions)


def about() -> ServiceInfo:
    """Return what the server says of itself."""
    return ServiceInfo(name="whisper-router", version=version("whisper-router"), docs=DOCS)
