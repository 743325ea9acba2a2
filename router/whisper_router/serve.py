"""Runs the API on a socket until a signal says stop."""

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

import structlog
from aiohttp import web

from whisper_router.api.certificates import Certificates
from whisper_router.api.key_source import KeyFile, KeySource
from whisper_router.api.metering import MeteredTranscriber
from whisper_router.api.routes import build_api
from whisper_router.api.runner import ApiRunner
from whisper_router.api.wyoming.address import TcpAddress, parse_uri
from whisper_router.api.wyoming.announcement import require_zeroconf
from whisper_router.api.wyoming.listener import WyomingListener
from whisper_router.app import Router, build_router
from whisper_router.audio.fetch_url import UrlFetcher
from whisper_router.checks import is_loopback
from whisper_router.control import Control
from whisper_router.descriptors import FileLimits, file_limits, raise_file_limit
from whisper_router.directory import Directory
from whisper_router.errors import ConfigurationError
from whisper_router.front import (
    Behind,
    api_deps,
    audit_log,
    fetch_limits,
    key_source,
    outbound_of,
    usage_keeper,
    wyoming_service,
)
from whisper_router.job_service import JobParts, running_jobs
from whisper_router.listening import (
    certificates_of,
    connection_limits,
    crowd_limits,
)
from whisper_router.logs import configure_logging
from whisper_router.pipeline.activity import ActivityBoard
from whisper_router.reload import Reloader
from whisper_router.sdnotify import notifier_from
from whisper_router.settings import Settings
from whisper_router.tracing import exporting

BACKLOG = 1024  # connections that the system holds while the loop is busy; more are told to wait
CERTIFICATE_LOOK_S = 3.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that accepts requests at `url`."""

    url: str
    router: Router
    reloader: Reloader | None


async def serve(settings: Settings, load: Callable[[], Settings]) -> int:
    """Serve until SIGTERM or SIGINT; a second one ends the program at once. SIGHUP reloads.

    `load` reads the settings again.

    Raises:
        ConfigurationError: the address cannot be used, or would be open to the network.
    """
    about = settings.server
    configure_logging(level=about.log_level, style=about.log_format, file=about.log_file)
    stop = _stop_signals()
    before = file_limits()
    _report_limits(raise_file_limit(), before)
    notifier = notifier_from(os.environ)
    async with running_server(settings, load, child_files=before.soft, keeps_usage=True) as server:
        _reload_on_signal(server)
        server.router.tasks.spawn(notifier.keep_watchdog_calm(), name="watchdog")
        gc.freeze()  # to look through all that stays, again and again, would hold up requests
        notifier.ready()
        log.info("serving", url=server.url, version=version("whisper-router"))
        await stop.wait()
        notifier.stopping()
        log.info("stopping", grace_s=settings.server.shutdown_grace_s)
    log.info("stopped")
    return 0


@asynccontextmanager
async def running_server(
    settings: Settings,
    load: Callable[[], Settings] | None = None,
    *,
    child_files: int | None = None,
    keeps_usage: bool = False,
) -> AsyncIterator[RunningServer]:
    """Build the router and serve its API. With `load` its settings can be read again.

    `child_files`: how many descriptors an engine may have; None: as many as this process.
    `keeps_usage`: what keys use is kept in a file, which only one server can have.

    The end in order: stop accepting; let requests finish for `shutdown_grace_s`, then cancel them;
    put running jobs back; stop engines and media workers; delete files.

    Raises:
        ConfigurationError: as `serve`.
    """
    _refuse_open_network(settings)
    _check_wyoming(settings)
    async with _parts(settings, load, child_files, is_kept=keeps_usage) as parts:
        router, directory = parts.router, parts.directory
        wyoming = WyomingListener(wyoming_service(router, directory, parts.behind.activity))
        runner = _runner(router, directory, parts.behind)
        await runner.setup()
        try:
            url = await _listen(runner, settings)
            await _listen_for_wyoming(wyoming, settings)
            yield RunningServer(url=url, router=router, reloader=parts.reloader)
        finally:
            await asyncio.gather(wyoming.close(settings.server.shutdown_grace_s), runner.cleanup())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    router: Router
    directory: Directory
    behind: Behind
    reloader: Reloader | None


@asynccontextmanager
async def _parts(
    settings: Settings,
    load: Callable[[], Settings] | None,
    child_files: int | None,
    *,
    is_kept: bool,
) -> AsyncIterator[_Parts]:
    keys = await asyncio.to_thread(key_source, settings)
    certificates = await asyncio.to_thread(certificates_of, settings)
    outbound = outbound_of(settings)
    fetcher = UrlFetcher(outbound, fetch_limits(settings))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_tracing(settings))
        router = await stack.enter_async_context(build_router(settings, child_files=child_files))
        usage = await stack.enter_async_context(usage_keeper(settings, is_kept=is_kept))
        audit = await stack.enter_async_context(audit_log(settings))
        directory = Directory(router)
        activity = ActivityBoard()
        jobs = await stack.enter_async_context(
            running_jobs(
                router,
                outbound,
                JobParts(
                    fetcher=fetcher,
                    in_use=directory.in_use,
                    transcriber=MeteredTranscriber(router.transcriber, usage, keys, directory),
                    activity=activity,
                ),
            )
        )
        looks = _watched(router, certificates, keys)
        reloader = None if load is None else Reloader(router, load, looks)
        behind = Behind(
            keys=keys,
            control=Control(router, reloader),
            jobs=jobs,
            usage=usage,
            audit=audit,
            fetcher=fetcher,
            activity=activity,
            certificates=certificates,
        )
        yield _Parts(router=router, directory=directory, behind=behind, reloader=reloader)


def _runner(router: Router, directory: Directory, behind: Behind) -> ApiRunner:
    settings, certificates = router.settings, behind.certificates
    return ApiRunner(
        build_api(api_deps(router, directory, behind)),
        limits=connection_limits(settings),
        crowd=crowd_limits(settings),
        tls_context=None if certificates is None else lambda: certificates.pair.context,
        handler_cancellation=True,  # a client that leaves must free its worker
        access_log=None,
        shutdown_timeout=settings.server.shutdown_grace_s,
        keepalive_timeout=settings.server.keepalive_timeout_s,
    )


async def _listen(runner: web.AppRunner, settings: Settings) -> str:
    host, port = settings.server.host, settings.server.port
    try:
        await web.TCPSite(runner, host, port, backlog=BACKLOG).start()
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    bound = runner.addresses[0]
    shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
    scheme = "http" if settings.server.tls_cert is None else "https"
    return f"{scheme}://{shown}:{bound[1]}"


def _watched(
    router: Router, certificates: Certificates | None, keys: KeySource
) -> Sequence[Callable[[], str | None]]:
    """Look at certificates now and then; return what else a reload looks at."""
    looks = [keys.look] if isinstance(keys, KeyFile) else []
    if certificates is not None:
        router.tasks.spawn(_watch(certificates), name="watch certificate")
        looks.append(certificates.look)
    return looks


async def _watch(certificates: Certificates) -> None:
    """Take up renewed certificates: who renews them need not know of us."""
    while True:
        await asyncio.sleep(CERTIFICATE_LOOK_S)
        await asyncio.to_thread(certificates.look)


async def _listen_for_wyoming(wyoming: WyomingListener, settings: Settings) -> None:
    wanted = settings.wyoming
    if not wanted.uri:
        return
    address = await wyoming.open(parse_uri(wanted.uri), socket_mode=int(wanted.socket_mode, 8))
    log.info("wyoming_listening", uri=address.uri)
    if wanted.zeroconf and isinstance(address, TcpAddress):
        wyoming.announce(address, wanted.zeroconf_name)


def _report_limits(now: FileLimits, before: FileLimits) -> None:
    log.info("file_limit", soft=now.soft, before=before.soft, hard=now.hard)
    if now.is_low:
        log.warning("file_limit_low", soft=now.soft, connections=now.connections)


def _tracing(settings: Settings) -> AbstractAsyncContextManager[None]:
    wanted = settings.tracing
    return exporting(
        enabled=wanted.enabled, endpoint=wanted.endpoint, version=version("whisper-router")
    )


def _refuse_open_network(settings: Settings) -> None:
    server, auth = settings.server, settings.auth
    has_key = auth.keys_file is not None or (auth.api_key and auth.api_key.get_secret_value())
    if is_loopback(server.host) or has_key or server.insecure_lan:
        return
    raise ConfigurationError(
        f"refusing to listen on {server.host} without a key: everybody who can reach this machine "
        "could use it. Set API_KEY, or auth.keys_file (`whisper-router keys new NAME "
        "--keys-file FILE`), or server.insecure_lan = true."
    )


def _check_wyoming(settings: Settings) -> None:
    wanted = settings.wyoming
    address = parse_uri(wanted.uri) if wanted.uri else None
    tcp = address if isinstance(address, TcpAddress) else None
    if tcp and not is_loopback(tcp.host) and not wanted.insecure_lan:
        raise ConfigurationError(
            f"refusing to listen on {tcp.uri}: Wyoming knows no keys, so everybody who can "
            "reach this machine could use it. Set wyoming.insecure_lan = true if they may."
        )
    if not wanted.zeroconf:
        return
    if tcp is None:
        raise ConfigurationError("wyoming.zeroconf needs a TCP address in wyoming.uri.")
    require_zeroconf()


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(130)  # engines see their stdin close and end by themselves
        stop.set()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal)
    # Its default action ends the program; one that comes too early is not lost on anything.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    return stop


def _reload_on_signal(server: RunningServer) -> None:
    reloader = server.reloader
    if reloader is None:
        return

    async def reload() -> None:
        with contextlib.suppress(ConfigurationError):  # it is in the log
            await reloader.reload()

    def on_signal() -> None:
        server.router.tasks.spawn(reload(), name="reload")

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_signal)
