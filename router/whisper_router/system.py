"""What administrators are told of the machine and of this program, and the checks of both."""

import asyncio
import json
import os
import platform
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from whisper_router.api.services import Finding
from whisper_router.app import Router
from whisper_router.checks import bad, cpu_flags, examine, good, memory_of_machine, warning
from whisper_router.domain import TranscriptionRequest
from whisper_router.engine_api import ProbingEngine
from whisper_router.errors import RouterError
from whisper_router.models.source import LocalFile
from whisper_router.pipeline.transcribe import MediaSource, collect
from whisper_router.supervisor.gpu import read_gpus
from whisper_router.supervisor.proctable import read_row

LIBRARIES: Final = ("pywhispercpp", "aiohttp", "av", "numpy", "pydantic", "structlog", "wyoming")
SAMPLE: Final = "en_call_sign.wav"
Json = dict[str, Any]


class SystemReport:
    """The `System` of the API."""

    def __init__(self, router: Router) -> None:
        self._router, self._began_s = router, time.monotonic()

    async def describe(self) -> Mapping[str, object]:
        """Return versions, the machine, its memory and disks, and what engines compute on."""
        settings = self._router.settings
        return {
            "version": version("whisper-router"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            "uptime_seconds": round(time.monotonic() - self._began_s, 1),
            "pid": os.getpid(),
            **await asyncio.to_thread(self._machine),
            "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
            "engines": [item async for item in self._engines()],
            "accelerators": [
                {"alias": alias, "requested": brief.requested, "in_effect": brief.ready.accelerator}
                for alias, brief in self._briefs().items()
                if brief.ready is not None
            ],
            "gpus": [asdict(device) for device in await read_gpus()],
            "dialects": sorted(item.value for item in settings.dialects.enabled),
            "tls": bool(getattr(settings.server, "tls_cert", None)),
        }

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """Yield what `doctor` would; the self-test goes through this very server's workers."""
        async for finding in examine(self._router.settings, self._self_test, is_serving=True):
            yield finding

    def _briefs(self) -> Mapping[str, Any]:
        return {pool.alias: pool.brief() for pool in self._router.supervisor.pools()}

    def _machine(self) -> Json:
        own, (available, total) = read_row(os.getpid()), memory_of_machine()
        places = {
            "models": self._router.store.directory,
            "spool": self._router.spool.directory,
        }
        return {
            "cpu": {"cores": os.cpu_count(), "flags": sorted(cpu_flags() or ())},
            "memory": {
                "total_bytes": total,
                "available_bytes": available,
                "router_rss_bytes": None if own is None else own.rss_bytes,
            },
            "disk": [
                {"path": str(path), "free_bytes": _free_bytes(path), "purpose": purpose}
                for purpose, path in places.items()
            ],
        }

    async def _engines(self) -> AsyncIterator[Json]:
        for name, engine in self._router.aliases.engines.items():
            found: Json = {"name": name, "versions": {}, "error": None}
            if isinstance(engine, ProbingEngine):
                try:
                    found["versions"] = dict(await engine.probe())
                except RouterError as error:
                    found["error"] = str(error)
            yield found

    async def _self_test(self) -> AsyncIterator[Finding]:
        """Recognise a bundled sample in this server, in its turn like any other request."""
        began_s = time.monotonic()
        try:
            source = self._router.aliases.catalog.resolve("demo").source
            if not isinstance(source, LocalFile):
                yield warning("self-test", "no installed engine brings the model 'demo'")
                return
            path, wanted = await asyncio.to_thread(_sample, source.path.parent)
            request = TranscriptionRequest(model="demo", request_id="doctor")
            events = self._router.transcriber.run(request, MediaSource(path=path))
            heard = (await collect(events, request)).text.strip()
        except (RouterError, OSError) as error:
            yield bad("self-test", str(error))
            return
        ready = self._router.supervisor.pool("demo").brief().ready
        if ready is not None:
            yield good("accelerator", f"the demo model computes on {ready.accelerator}")
        if heard == wanted:
            took = f"{time.monotonic() - began_s:.1f} s"
            yield good("self-test", f"the demo model heard the bundled sample, {took}")
        else:
            yield bad("self-test", "the demo model misheard the bundled sample")


def _sample(directory: Path) -> tuple[Path, str]:
    """Return a bundled sample, and what is said in it. Raises OSError: there is none."""
    samples = json.loads((directory.joinpath("samples.json")).read_text(encoding="utf-8"))
    text = next(item["text"] for item in samples if item["file"] == SAMPLE)
    return directory / "samples" / SAMPLE, text


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
