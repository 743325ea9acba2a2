"""Two models under a memory budget for one, both wanted all the time: who waits how long.

Usage: bench_ping_pong.py [--seconds N] [--clients N] [--residency S]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.client import ask
from support.server import ServerProcess, running_server
from support.speech import DEMO_MODEL, sample
from support.whispercpp_ggml import as_f16, random_model, read

ALIASES = ("ping", "pong")
CLIP = sample("en_hello_gb").path
LIMIT_SHARE = 0.25
"""Neither may get less of all answers than this."""
ANSWER_S = 120.0
CONFIG = """default_model = "ping"
[devices]
memory = "400MiB"
min_residency_s = {residency_s}
[models.ping]
path = "{model}"
temperature_increment = 0.0
memory = "300MiB"
[models.pong]
path = "{model}"
temperature_increment = 0.0
memory = "300MiB"
"""


def main() -> int:
    """Print the table; 1 when an answer was wrong or an alias starved."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--residency", type=float, default=5.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        base = random_model(as_f16(read(DEMO_MODEL)), width=512, layers=6, ends_at_once=True)
        model = base.write(Path(name) / "base.bin")
        config = CONFIG.format(model=model, residency_s=arguments.residency)
        with running_server(Path(name), config=config) as server:
            return 0 if asyncio.run(measure(server, arguments)) else 1


async def measure(server: ServerProcess, arguments: argparse.Namespace) -> bool:
    """Let every client send clip after clip; print what each alias got."""
    took_s: dict[str, list[float]] = {alias: [] for alias in ALIASES}
    failures: list[str] = []
    end_s = time.monotonic() + arguments.seconds

    async def client(http: aiohttp.ClientSession, alias: str) -> None:
        while time.monotonic() < end_s:
            began_s = time.monotonic()
            status, answer = await ask(http, server.url, CLIP, model=alias, language="en")
            took_s[alias].append(time.monotonic() - began_s)
            if status != 200:
                failures.append(f"{alias}: {status} {answer}")

    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        async with asyncio.TaskGroup() as group:
            for alias in ALIASES * arguments.clients:
                group.create_task(client(http, alias))
        starts = {alias: await starts_of(http, server, alias) for alias in ALIASES}
    print(f"{arguments.clients} clients for each alias, {arguments.seconds:g} s, ", end="")
    print(f"at least {arguments.residency:g} s for each before it makes room\n")
    print("alias   answers  starts    p50, ms    p95, ms    max, ms")
    for alias, times in took_s.items():
        cuts = statistics.quantiles(times, n=20)
        row = [statistics.median(times), cuts[-1], max(times)]
        print(f"{alias:6} {len(times):8} {starts[alias]:7}", *(f"{s * 1000:10.0f}" for s in row))
    for failure in failures:
        print(f"FAILED {failure}")
    total = sum(map(len, took_s.values()))
    share = min(map(len, took_s.values())) / total
    print(f"\nlowest share of the answers: {share:.2f} (limit {LIMIT_SHARE})")
    return not failures and share >= LIMIT_SHARE


async def starts_of(http: aiohttp.ClientSession, server: ServerProcess, alias: str) -> int:
    """Return how often the alias's engine was started."""
    async with http.get(f"{server.url}/v1/processes/{alias}") as response:
        return (await response.json())["starts"]


if __name__ == "__main__":
    sys.exit(main())
