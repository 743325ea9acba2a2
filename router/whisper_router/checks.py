"""Is this machine and this configuration fit to serve? `doctor` tells, and the API."""

import asyncio
import ipaddress
import os
import platform
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from whisper_router.aliases import Aliases, build_aliases
from whisper_router.api.key_file import load_keys
from whisper_router.api.services import Finding, Verdict
from whisper_router.descriptors import ENOUGH, file_limits
from whisper_router.engine_api import ProbingEngine
from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.listening import certificates_of
from whisper_router.places import spool_root, store_directory
from whisper_router.plugins import load_engines
from whisper_router.settings import Settings
from whisper_router.supervisor.gpu import Gpu, read_gpus

GIBIBYTE = 1 << 30
WORTHWHILE_FLAGS = ("avx", "avx2", "fma", "f16c", "bmi2", "avx512f")
LOW_DISK_BYTES = 5 * GIBIBYTE
LOW_MEMORY_BYTES = 2 * GIBIBYTE


async def examine(
    settings: Settings, self_test: Callable[[], AsyncIterator[Finding]], *, is_serving: bool = False
) -> AsyncIterator[Finding]:
    """Yield the findings, the quick ones first and those of `self_test` last.

    `is_serving`: this very process has the port.
    """
    for check in (_system, _cpu, _memory, _files):
        yield await asyncio.to_thread(check)
    for device in await read_gpus():
        yield _gpu(device)
    try:
        aliases = build_aliases(settings, load_engines())
    except ConfigurationError as error:
        yield bad("configuration", str(error))
        return
    yield good("configuration", f"{len(settings.models)} aliases configured")
    async for finding in _engines(aliases):
        yield finding
    for check_settings in (_store, _spool):
        yield await asyncio.to_thread(check_settings, settings)
    for check_file in (_key, _certificate):
        finding = await asyncio.to_thread(check_file, settings)
        if is_serving and finding.verdict is Verdict.BAD:
            finding = replace(finding, text=f"{finding.text}; what was there before goes on")
        yield finding
    if not is_serving:
        yield await asyncio.to_thread(_port, settings)
    async for finding in self_test():
        yield finding


def _system() -> Finding:
    return good(
        "system",
        f"whisper-router {version('whisper-router')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.release()} on {platform.machine()}",
    )


def _cpu() -> Finding:
    cores = f"{os.cpu_count()} cores"
    flags = cpu_flags()
    if flags is None:
        return good("cpu", cores)
    present = [flag for flag in WORTHWHILE_FLAGS if flag in flags]
    text = f"{cores}, {' '.join(present) or 'none of ' + ' '.join(WORTHWHILE_FLAGS)}"
    if platform.machine() == "x86_64" and "avx2" not in flags:
        return bad("cpu", f"{text}; the wheels of pywhispercpp need AVX2 (docs/engines.md)")
    return good("cpu", text)


def cpu_flags() -> set[str] | None:
    """Return what the processor can do; None: it is not known. Blocking."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(("flags", "Features"))), None)
    return set(found.split(":", 1)[1].split()) if found else None


def _memory() -> Finding:
    available, total = memory_of_machine()
    if available is None or total is None:
        return good("memory", "not known on this system")
    text = f"{available / GIBIBYTE:.1f} GiB free of {total / GIBIBYTE:.1f} GiB"
    if total < LOW_MEMORY_BYTES:
        return warning("memory", f"{text}; use a small model (tiny, base)")
    return good("memory", text)


def memory_of_machine() -> tuple[int | None, int | None]:
    """Return how many bytes are free, and how many there are; None: not known on this system."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
    except (ValueError, OSError):
        return None, None


def _gpu(device: Gpu) -> Finding:
    free = device.total_bytes - device.used_bytes
    text = f"{free / GIBIBYTE:.1f} GiB free of {device.total_bytes / GIBIBYTE:.1f} GiB"
    return good(f"gpu {device.index}", f"{device.name}, {text}")


def _files() -> Finding:
    limits = file_limits()
    text = f"{limits.soft} (soft limit), {limits.hard} (hard limit, which `serve` takes)"
    if limits.hard < ENOUGH:
        return warning("open files", f"{text}; raise it (LimitNOFILE=, ulimit -Hn)")
    return good("open files", text)


async def _engines(aliases: Aliases) -> AsyncIterator[Finding]:
    for name, engine in aliases.engines.items():
        if not isinstance(engine, ProbingEngine):
            yield good("engine", f"{name} is installed")
            continue
        try:
            seen = await engine.probe()
        except RouterError as error:
            yield bad("engine", f"{name} does not run here: {error}")
        else:
            told = "; ".join(f"{what} {value}" for what, value in seen.items())
            yield good("engine", f"{name} is installed: {told}")
    if not aliases.engines:
        yield bad("engine", "none is installed: reinstall whisper-router, or install a plugin")


def _store(settings: Settings) -> Finding:
    directory = store_directory(settings)
    files = [path for path in directory.rglob("*.bin") if path.is_file()]
    parent = _existing(directory)
    free = shutil.disk_usage(parent).free
    text = f"{directory}: {len(files)} model files, {free / GIBIBYTE:.1f} GiB free"
    if (reason := _unusable(parent)) is not None:
        return bad("models", f"{text}; {reason}")
    return (warning if free < LOW_DISK_BYTES else good)("models", text)


def _spool(settings: Settings) -> Finding:
    root = spool_root(settings)
    parent = _existing(root)
    free = shutil.disk_usage(parent).free
    text = f"{root}: {free / GIBIBYTE:.1f} GiB free"
    if (reason := _unusable(parent)) is not None:
        return bad("spool", f"{text}; {reason}")
    if free < 2 * settings.server.max_upload_bytes:
        return warning("spool", f"{text}; two uploads of the largest size would not fit")
    return good("spool", text)


def _key(settings: Settings) -> Finding:
    if settings.auth.keys_file is not None:
        try:
            count = len(load_keys(settings.auth.keys_file.expanduser()))
        except ConfigurationError as error:
            return bad("keys", str(error))
        return good("keys", f"requests need a key; {count} are in {settings.auth.keys_file}")
    if settings.auth.api_key:
        return good("keys", "requests need a key")
    where = "this machine only" if is_loopback(settings.server.host) else settings.server.host
    if is_loopback(settings.server.host):
        return good("keys", f"none; the API is open, to {where}")
    if settings.server.insecure_lan:
        return warning("keys", f"none; the API on {where} is open to everybody who can reach it")
    return bad("keys", f"none; `serve` will refuse to listen on {where} (docs/configuration.md)")


def _certificate(settings: Settings) -> Finding:
    now_s = time.time()
    try:
        found = certificates_of(settings)
    except ConfigurationError as error:
        return bad("certificate", str(error))
    if found is None:
        return good("certificate", "none; the API is at http://")
    warnings = list(found.pair.warnings(now_s))
    if warnings:
        return warning("certificate", "; ".join(warnings))
    days = found.pair.days_left(now_s)
    return good("certificate", f"the API is at https://; good for {days:.0f} more days")


def _port(settings: Settings) -> Finding:
    where = f"{settings.server.host}:{settings.server.port}"
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server.host, settings.server.port))
        except OSError as error:
            return warning("port", f"{where}: {error.strerror} (is the server running?)")
    return good("port", f"{where} is free")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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


good, warning, bad = (_finding(verdict) for verdict in Verdict)
