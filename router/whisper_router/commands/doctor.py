"""`whisper-router doctor`: is this machine and this configuration fit to serve?"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from rich.console import Console

from whisper_router.api.services import Finding, Verdict
from whisper_router.checks import bad, examine, good, warning
from whisper_router.errors import ConfigurationError, RouterError
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.models.source import LocalFile
from whisper_router.sections import ServerSettings
from whisper_router.serve import running_server
from whisper_router.settings import Settings


async def doctor(settings: Settings) -> int:
    """Print every finding; 1 when one of them is a problem."""
    configure_logging(level="error", style=LogFormat.TEXT)
    console = Console(highlight=False)
    problems = 0
    async for finding in examine(settings, _self_test):
        problems += finding.verdict is Verdict.BAD
        style = {"ok": "green", "warning": "yellow", "problem": "red"}[finding.verdict]
        console.print(f"[{style}]{finding.verdict:8}[/] {finding.subject:14}", end=" ")
        console.print(finding.text, markup=False, soft_wrap=True)
    return 1 if problems else 0


async def _self_test() -> AsyncIterator[Finding]:
    """Recognise a bundled sample over HTTP, with nothing of the configuration in the way."""
    settings = Settings.model_construct(server=ServerSettings(port=0))
    began = time.perf_counter()
    try:
        async with running_server(settings) as server, aiohttp.ClientSession() as http:
            demo = server.router.aliases.catalog.resolve("demo")
            if not isinstance(demo.source, LocalFile):
                yield warning("self-test", "no installed engine brings the model 'demo'")
                return
            wanted, text = await _recognise(http, server.url, demo.source.path.parent)
            ready = server.router.supervisor.pool(demo.alias).brief().ready
    except (RouterError, ConfigurationError, aiohttp.ClientError) as error:
        yield bad("self-test", str(error))
        return
    if ready is not None:
        # what `acceleration = "auto"` came to, as the engine itself reports it
        yield good("accelerator", f"{demo.engine} computes on {ready.accelerator}")
    took = f"{time.perf_counter() - began:.1f} s with start and model load"
    if text == wanted:
        yield good("self-test", f"the demo model heard '{text}', {took}")
    else:
        yield bad("self-test", f"heard '{text}' where '{wanted}' was said")


async def _recognise(http: aiohttp.ClientSession, url: str, directory: Path) -> tuple[str, str]:
    samples = json.loads(await asyncio.to_thread((directory / "samples.json").read_text))
    sample = next(sample for sample in samples if sample["file"] == "en_call_sign.wav")
    audio = await asyncio.to_thread((directory / "samples" / sample["file"]).read_bytes)
    form = aiohttp.FormData({"model": "demo"})
    form.add_field("file", audio, filename=sample["file"])
    async with http.post(f"{url}/v1/audio/transcriptions", data=form) as response:
        body = await response.json()
    return sample["text"], body.get("text", "") if response.ok else body["error"]["message"]
