"""`whisper-router doctor`: is this machine and this configuration fit to serve?"""

import asyncio
import json
import os
import platform
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import aiohttp
from rich.console import Console

from whisper_router.aliases import Aliases, build_aliases
from whisper_router.api.key_file import load_keys
from whisper_router.descriptors import ENOUGH, file_limits
from whisper_router.engine_api import ProbingEngine
from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.models.source import LocalFile
from whisper_router.places import spool_root, store_directory
from whisper_router.plugins import load_engines
from whisper_router.sections import ServerSettings
from whisper_router.serve import is_loopback, running_server
from whisper_router.settings import Settings
from whisper_router.supervisor.gpu import Gpu, read_gpus

GIBIBYTE = 1 << 30
WORTHWHILE_FLAGS = ("avx", "avx2", "fma", "f16c", "bmi2", "avx512f")
LOW_DISK_BYTES = 5 * GIBIBYTE
LOW_MEMORY_BYTES = 2 * GIBIBYTE


class Verdict(StrEnum):
    """How a check ended."""

    GOOD = "ok"
    WARNING = "warning"
    BAD = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report."""

    verdict: Verdict
    subject: str
    text: str


async def doctor(settings: Settings) -> int:
    """Print every finding; 1 when one of them is a problem."""
    configure_logging(level="error", style=LogFormat.TEXT)
    console = Console(highlight=False)
    bad = 0
    async for finding in examine(settings):
        bad += finding.verdict is Verdict.BAD
        style = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.verdict]
        console.print(f"[{style}]{finding.verdict:8}[/] {finding.subject:14}", end=" ")
        console.print(finding.text, markup=False, soft_wrap=True)
    return 1 if bad else 0


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield the findings, the quick ones first."""
    for check in (_system, _cpu, _memory, _files):
        yield check()
    for device in await read_gpus():
        yield _gpu(device)
    try:
        aliases = build_aliases(settings, load_engines())
    except ConfigurationError as error:
        yield _bad("configuration", str(error))
        return
    yield _good("configuration", f"{len(settings.models)} aliases configured")
    async for finding in _engines(aliases):
        yield finding
    for check_settings in (_store, _spool, _key, _port):
        yield await asyncio.to_thread(check_settings, settings)
    async for finding in _self_test():
        yield finding


def _system() -> Finding:
    return _good(
        "system",
        f"whisper-router {version('whisper-router')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()} on {platform.machine()}",
    )


def _cpu() -> Finding:
    cores = f"{os.cpu_count()} cores"
    flags = _cpu_flags()
    if flags is None:
        return _good("cpu", cores)
    present = [flag for flag in WORTHWHILE_FLAGS if flag in flags]
    text = f"{cores}, {' '.join(present) or 'none of ' + ' '.join(WORTHWHILE_FLAGS)}"
    if platform.machine() == "x86_64" and "avx2" not in flags:
        return _bad("cpu", f"{text}; the wheels of pywhispercpp need AVX2 (docs/engines.md)")
    return _good("cpu", text)


def _cpu_flags() -> set[str] | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(("flags", "Features"))), None)
    return set(found.split(":", 1)[1].split()) if found else None


def _memory() -> Finding:
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return _good("memory", "not known on this system")
    text = f"{available / GIBIBYTE:.1f} GiB free of {total / GIBIBYTE:.1f} GiB"
    if total < LOW_MEMORY_BYTES:
        return _warning("memory", f"{text}; use a small model (tiny, base)")
    return _good("memory", text)


def _gpu(device: Gpu) -> Finding:
    free = device.total_bytes - device.used_bytes
    text = f"{free / GIBIBYTE:.1f} GiB free of {device.total_bytes / GIBIBYTE:.1f} GiB"
    return _good(f"gpu {device.index}", f"{device.name}, {text}")


def _files() -> Finding:
    limits = file_limits()
    text = f"{limits.soft} (soft limit), {limits.hard} (hard limit, which `serve` takes)"
    if limits.hard < ENOUGH:
        return _warning("open files", f"{text}; raise it (LimitNOFILE=, ulimit -Hn)")
    return _good("open files", text)


async def _engines(aliases: Aliases) -> AsyncIterator[Finding]:
    for name, engine in aliases.engines.items():
        if not isinstance(engine, ProbingEngine):
            yield _good("engine", f"{name} is installed")
            continue
        try:
            seen = await engine.probe()
        except RouterError as error:
            yield _bad("engine", f"{name} does not run here: {error}")
        else:
            told = "; ".join(f"{what} {value}" for what, value in seen.items())
            yield _good("engine", f"{name} is installed: {told}")
    if not aliases.engines:
        yield _bad("engine", "none is installed: reinstall whisper-router, or install a plugin")


def _store(settings: Settings) -> Finding:
    directory = store_directory(settings)
    files = [path for path in directory.rglob("*.bin") if path.is_file()]
    parent = _existing(directory)
    free = shutil.disk_usage(parent).free
    text = f"{directory}: {len(files)} model files, {free / GIBIBYTE:.1f} GiB free"
    if (reason := _unusable(parent)) is not None:
        return _bad("models", f"{text}; {reason}")
    return (_warning if free < LOW_DISK_BYTES else _good)("models", text)


def _spool(settings: Settings) -> Finding:
    root = spool_root(settings)
    parent = _existing(root)
    free = shutil.disk_usage(parent).free
    text = f"{root}: {free / GIBIBYTE:.1f} GiB free"
    if (reason := _unusable(parent)) is not None:
        return _bad("spool", f"{text}; {reason}")
    if free < 2 * settings.server.max_upload_bytes:
        return _warning("spool", f"{text}; two uploads of the largest size would not fit")
    return _good("spool", text)


def _key(settings: Settings) -> Finding:
    if settings.auth.keys_file is not None:
        try:
            count = len(load_keys(settings.auth.keys_file.expanduser()))
        except ConfigurationError as error:
            return _bad("keys", str(error))
        return _good("keys", f"requests need a key; {count} are in {settings.auth.keys_file}")
    if settings.auth.api_key:
        return _good("keys", "requests need a key")
    where = "this machine only" if is_loopback(settings.server.host) else settings.server.host
    if is_loopback(settings.server.host):
        return _good("keys", f"none; the API is open, to {where}")
    if settings.server.insecure_lan:
        return _warning("keys", f"none; the API on {where} is open to everybody who can reach it")
    return _bad("keys", f"none; `serve` will refuse to listen on {where} (docs/configuration.md)")


def _port(settings: Settings) -> Finding:
    where = f"{settings.server.host}:{settings.server.port}"
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server.host, settings.server.port))
        except OSError as error:
            return _warning("port", f"{where}: {error.strerror} (is the server running?)")
    return _good("port", f"{where} is free")


async def _self_test() -> AsyncIterator[Finding]:
    """Recognise a bundled sample over HTTP, with nothing of the configuration in the way."""
    settings = Settings.model_construct(server=ServerSettings(port=0))
    began = time.perf_counter()
    try:
        async with running_server(settings) as server, aiohttp.ClientSession() as http:
            demo = server.router.aliases.catalog.resolve("demo")
            if not isinstance(demo.source, LocalFile):
                yield _warning("self-test", "no installed engine brings the model 'demo'")
                return
            wanted, text = await _recognise(http, server.url, demo.source.path.parent)
            ready = server.router.supervisor.pool(demo.alias).brief().ready
    except (RouterError, ConfigurationError, aiohttp.ClientError) as error:
        yield _bad("self-test", str(error))
        return
    if ready is not None:
        # what `acceleration = "auto"` came to, as the engine itself reports it
        yield _good("accelerator", f"{demo.engine} computes on {ready.accelerator}")
    took = f"{time.perf_counter() - began:.1f} s with start and model load"
    if text == wanted:
        yield _good("self-test", f"the demo model heard '{text}', {took}")
    else:
        yield _bad("self-test", f"heard '{text}' where '{wanted}' was said")


async def _recognise(http: aiohttp.ClientSession, url: str, directory: Path) -> tuple[str, str]:
    samples = json.loads(await asyncio.to_thread((directory / "samples.json").read_text))
    sample = next(sample for sample in samples if sample["file"] == "en_call_sign.wav")
    audio = await asyncio.to_thread((directory / "samples" / sample["file"]).read_bytes)
    form = aiohttp.FormData({"model": "demo"})
    form.add_field("file", audio, filename=sample["file"])
    async with http.post(f"{url}/v1/audio/transcriptions", data=form) as response:
        body = await response.json()
    return sample["text"], body.get("text", "") if response.ok else body["error"]["message"]


def _unusable(parent: Path) -> str | None:
    """Return why nothing can be made in `parent`."""
    if not parent.is_dir():
        return f"{parent} is not a directory"
    return None if os.access(parent, os.W_OK | os.X_OK) else "this user may not write there"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _finding(verdict: Verdict) -> Callable[[str, str], Finding]:
    return lambda subject, text: Finding(verdict=verdict, subject=subject, text=text)


_good, _warning, _bad = (_finding(verdict) for verdict in Verdict)
