"""What it costs to be watched: a scrape of /metrics, and the counting and logging of a request.

The scrape: a server with 50 aliases, each of which has transcribed, so that every series is there,
and counts nothing from one scrape to the next. How much longer the text takes when everything has
been counted since is the encoder's part, and measured alone, in processor time.

The cost of a request: a router in this process, with the real engine, whose log goes to a file. All
time that it spends in metrics and in logging is added up for each request; and a light request
(GET /v1/models) is timed with and without them, in turns. Usage: bench_metrics.py [--aliases N]
[--requests N] [--level info|debug]
"""

import argparse
import asyncio
import itertools
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import psutil
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase
from structlog import BoundLoggerBase

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.client import ask, session
from support.in_process import settings_in
from support.server import running_server
from support.speech import sample
from whisper_router.api.metrics_text import encode
from whisper_router.commands.bench_figures import nearest_rank
from whisper_router.logs import LogFormat, configure_logging
from whisper_router.metrics import COUNTED
from whisper_router.serve import running_server as running_router

SCRAPES = 200
ENCODED = 50
TURNS = 20
LIMIT_SCRAPE_MS = 20.0
LIMIT_REQUEST_MS = 1.0
SPEECH = sample("en_hello_gb").path
MEASURED = (
    (MetricWrapperBase, "labels"),
    (Counter, "inc"),
    (Histogram, "observe"),
    (BoundLoggerBase, "_proxy_to_logger"),
)
Row = tuple[str, float, float | None]


def main() -> int:
    """Print the table; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aliases", type=int, default=50)
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--level", default="info", choices=("info", "debug"))
    arguments = parser.parse_args()
    rows = asyncio.run(measure(arguments.aliases, arguments.requests, arguments.level))
    print(f"machine: {platform.machine()}, {psutil.cpu_count()} cores, {platform.system()}")
    print(f"{'what':64} {'measured':>11} {'limit':>9}")
    for what, measured_ms, limit_ms in rows:
        limit = "" if limit_ms is None else f"{limit_ms:6.1f} ms"
        print(f"{what:64} {measured_ms:8.3f} ms {limit:>9}")
    return 1 if any(limit is not None and value > limit for _, value, limit in rows) else 0


async def measure(aliases: int, requests: int, level: str) -> list[Row]:
    """Return (what, milliseconds, limit) for every figure."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        scrapes = await scrape_rows(directory, aliases)
        with (directory / "log").open("w") as log, patch.object(sys, "stderr", log):
            configure_logging(level=level, style=LogFormat.JSON)
            scrapes += encoder_rows(aliases)
            settings = settings_in(directory)
            async with running_router(settings) as server, session() as http:
                costs = await request_rows(http, server.url, requests)
                return scrapes + costs + await light_rows(http, server.url)


async def scrape_rows(directory: Path, aliases: int) -> list[Row]:
    """Have every alias transcribe, and time scrapes."""
    names = [f"alias-{number:02}" for number in range(aliases)]
    config = 'default_model = "demo"\n[devices]\nmin_residency_s = 0\n' + "".join(
        f'[models.{name}]\nmodel = "demo"\nworkers = 1\n' for name in names
    )
    with running_server(directory, config=config) as server:
        async with session() as http:
            for name in names:
                status, body = await ask(http, server.url, SPEECH, model=name)
                assert status == 200, body
            took_ms, size = [], 0
            for _ in range(SCRAPES):
                began_s = time.perf_counter()
                async with http.get(f"{server.url}/metrics") as response:
                    size = len(await response.read())
                took_ms.append((time.perf_counter() - began_s) * 1000)
    about = f"scrape, {aliases} aliases, {size / 1024:.0f} KiB, {SCRAPES} times"
    return [
        (f"{about}: p50", nearest_rank(took_ms, 50) or 0.0, None),
        (f"{about}: p95", nearest_rank(took_ms, 95) or 0.0, LIMIT_SCRAPE_MS),
    ]


def encoder_rows(aliases: int) -> list[Row]:
    """Time the text of what is counted, with each figure of each alias changed, and with none."""
    told = [metric for metric in COUNTED if "alias" in metric._labelnames]
    names = [f"alias-{number:02}" for number in range(aliases)]
    took_ms: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * ENCODED):
        is_changed = turn % 2 == 0
        for metric, name in itertools.product(told, names) if is_changed else ():
            child = metric.labels(*[name if key == "alias" else "x" for key in metric._labelnames])
            child.observe(0.37) if isinstance(metric, Histogram) else child.inc(0.37)
        began_s = time.process_time()
        encode(COUNTED, [])
        took_ms[is_changed].append((time.process_time() - began_s) * 1000)
    what = f"the encoder's part, {ENCODED} times: p50"
    return [
        (f"{what}, everything changed", nearest_rank(took_ms[True], 50) or 0.0, None),
        (f"{what}, nothing changed", nearest_rank(took_ms[False], 50) or 0.0, None),
    ]


class Clock:
    """Adds up the time spent in some functions; what one calls of the others counts once."""

    def __init__(self) -> None:
        self.spent_s = 0.0
        self._is_inside = False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time taken."""

        def call(*arguments: Any, **named: Any) -> Any:
            if self._is_inside:
                return function(*arguments, **named)
            self._is_inside, began_s = True, time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.spent_s += time.perf_counter() - began_s
                self._is_inside = False

        return call


async def request_rows(http: aiohttp.ClientSession, url: str, requests: int) -> list[Row]:
    """Time what each transcription spends on metrics and logging."""
    clock, spent_ms = Clock(), []
    await ask(http, url, SPEECH, model="demo")
    with ExitStack() as stack:
        for owner, name in MEASURED:
            timed = clock.timed(getattr(owner, name))
            stack.enter_context(patch.object(owner, name, timed))
        for _ in range(requests):
            clock.spent_s = 0.0
            status, body = await ask(http, url, SPEECH, model="demo")
            assert status == 200, body
            await asyncio.sleep(0.01)  # what is logged after the answer counts, too
            spent_ms.append(clock.spent_s * 1000)
    what = f"metrics and logging of a transcription, {requests} times"
    return [
        (f"{what}: mean", statistics.mean(spent_ms), LIMIT_REQUEST_MS),
        (f"{what}: p95", nearest_rank(spent_ms, 95) or 0.0, LIMIT_REQUEST_MS),
    ]


async def light_rows(http: aiohttp.ClientSession, url: str) -> list[Row]:
    """Time a request that does little, with and without them, in turns."""
    watched, unwatched = list[float](), list[float]()
    for _ in range(TURNS):
        watched += await light_ms(http, url)
        with nothing_is_noted():
            unwatched += await light_ms(http, url)
    with_ms, without_ms = statistics.median(watched), statistics.median(unwatched)
    count = len(watched)
    return [
        (f"GET /v1/models, {count} times, with them: p50", with_ms, None),
        (f"GET /v1/models, {count} times, without, in turns: p50", without_ms, None),
        ("... the difference", with_ms - without_ms, LIMIT_REQUEST_MS),
    ]


async def light_ms(http: aiohttp.ClientSession, url: str) -> list[float]:
    """Return what some requests took."""
    took_ms = []
    for _ in range(50):
        began_s = time.perf_counter()
        async with http.get(f"{url}/v1/models") as response:
            await response.read()
        took_ms.append((time.perf_counter() - began_s) * 1000)
    return took_ms


@contextmanager
def nothing_is_noted() -> Iterator[None]:
    """Make metrics and logging do nothing until the block ends."""

    def nothing(*_: Any, **__: Any) -> None:
        return None

    with ExitStack() as stack:
        stack.enter_context(patch.object(MetricWrapperBase, "labels", lambda self, *_, **__: self))
        for owner, name in MEASURED[1:]:
            stack.enter_context(patch.object(owner, name, nothing))
        yield


if __name__ == "__main__":
    sys.exit(main())
