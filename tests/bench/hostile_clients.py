"""What hostile clients do to the others: latency and memory, attack by attack.

Each attack runs in a process of its own, against a real server with the bundled model, while small
requests with a good key are timed, each over a connection of its own. Before, between and after the
attacks the same requests are timed without any: those together are "unloaded".
"""

import argparse
import asyncio
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.client import ask
from support.server import ServerProcess, running_server
from support.speech import sample

HOSTILE = Path(__file__).parents[1] / "support" / "hostile.py"
KEY = "wr-the-good-key-of-this-bench"
COUNTS = {"slowloris": 400, "idle": 1000, "flood": 8, "wrong_keys": 10_000, "slow_reader": 100}
FACTOR, NOISE_S = 2.0, 0.002
MEMORY_MIB = 64.0
PAUSE_S = 0.05
MIB = 1 << 20


class Times:
    """What requests took, in seconds."""

    def __init__(self) -> None:
        self.health: list[float] = []
        self.text: list[float] = []
        self.failed = 0


def percentile(times: Sequence[float], share: float) -> float:
    """Return a value that `share` of the times do not exceed."""
    return sorted(times)[min(len(times) - 1, math.ceil(share * len(times)) - 1)]


async def measure(server: ServerProcess, seconds: float, times: Times) -> float:
    """Time requests for so long; return the most memory of the router meanwhile, in MiB."""
    process, hello = psutil.Process(server.pid), sample("en_hello_gb").path
    until, most = time.monotonic() + seconds, 0.0

    async def health() -> None:
        nonlocal most
        while time.monotonic() < until:
            async with client() as http:
                began = time.perf_counter()
                async with http.get(f"{server.url}/health") as answer:
                    await answer.read()
                    times.failed += answer.status != 200
                times.health.append(time.perf_counter() - began)
            most = max(most, process.memory_info().rss / MIB)
            await asyncio.sleep(PAUSE_S)

    async def text() -> None:
        while time.monotonic() < until:
            async with client() as http:
                began = time.perf_counter()
                status, body = await ask(http, server.url, hello)
                times.text.append(time.perf_counter() - began)
                times.failed += status != 200 or body["text"] != "hello world"
            await asyncio.sleep(PAUSE_S)

    for ended in await asyncio.gather(health(), text(), return_exceptions=True):
        if isinstance(ended, aiohttp.ClientError | TimeoutError):
            times.failed += 1
        elif ended is not None:
            raise ended
    return most


def client() -> aiohttp.ClientSession:
    """Return a client whose every request has a connection of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True),
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=aiohttp.ClientTimeout(total=30),
    )


@contextlib.asynccontextmanager
async def under_attack(
    server: ServerProcess, kind: str, count: int
) -> AsyncIterator[dict[str, int]]:
    """Run an attack; at the end what it yields holds the attackers' own account."""
    host, port = server.url.removeprefix("http://").split(":")
    arguments = (str(HOSTILE), kind, host, port, str(count), KEY)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=pipe, stdout=pipe
    )
    assert child.stdin
    assert child.stdout
    account: dict[str, int] = {}
    try:
        await child.stdout.readline()
        yield account
        cpu = psutil.Process(child.pid).cpu_times()
        child.stdin.close()
        account.update(json.loads(await child.stdout.readline()))
        account["cpu_ms"] = round(1000 * (cpu.user + cpu.system))
        await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def bench(server: ServerProcess, seconds: float) -> bool:
    """Print the table; True when every limit was kept."""
    calm, rows = Times(), []
    await measure(server, 3.0, Times())  # the model is loaded, every path has been taken once
    before = await measure(server, seconds, calm)
    for kind, count in COUNTS.items():
        times = Times()
        span = max(seconds, 26.0) if kind in {"wrong_keys", "slowloris"} else seconds
        resting = psutil.Process(server.pid).memory_info().rss / MIB
        async with under_attack(server, kind, count) as account:
            most = await measure(server, span, times)
        rows.append((kind, count, times, resting, most, account))
        await measure(server, seconds / 3, calm)
    after = psutil.Process(server.pid).memory_info().rss / MIB
    return report(calm, rows, before, after)


def report(calm: Times, rows: list, before: float, after: float) -> bool:
    """Print all figures; True when every limit was kept."""
    kept = calm.failed == 0
    limits = [percentile(each, 0.95) for each in (calm.health, calm.text)]
    print("| | requests, failed | /health p50, p95 (×) | text p50, p95 (×) | RSS before, most |")
    print("|---|---|---|---|---|")

    def cell(times: Sequence[float], base: float) -> str:
        half, most = percentile(times, 0.5), percentile(times, 0.95)
        return f"{1000 * half:.1f}, {1000 * most:.1f} ms ({most / base:.2f})"

    def line(name: str, times: Times, resting: float, most: float) -> None:
        cells = [
            cell(each, base) for each, base in zip((times.health, times.text), limits, strict=True)
        ]
        print(
            f"| {name} | {len(times.text)}, {times.failed} | {' | '.join(cells)} "
            f"| {resting:.0f}, {most:.0f} MiB |"
        )

    line("unloaded", calm, before, after)
    for kind, count, times, resting, most, _ in rows:
        line(f"{kind} ({count})", times, resting, most)
        kept &= times.failed == 0 and most - resting <= MEMORY_MIB
        for each, base in zip((times.health, times.text), limits, strict=True):
            kept &= percentile(each, 0.95) <= max(FACTOR * base, base + NOISE_S)
    kept &= after - before <= MEMORY_MIB
    for kind, _, _, _, _, account in rows:
        print(f"{kind}: {account}")
    print(
        f"limits (p95 <= {FACTOR:g} x unloaded, or {1000 * NOISE_S:g} ms more; "
        f"{MEMORY_MIB:g} MiB; no failure): {'kept' if kept else 'MISSED'}"
    )
    return kept


def main() -> int:
    """Run a server, attack it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=12.0, help="per attack")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = 'default_model = "demo"\n[models.whisper-1]\nmodel = "demo"\nworkers = 1\n'
        with running_server(Path(folder), config=config, env={"API_KEY": KEY}) as server:
            return 0 if asyncio.run(bench(server, arguments.seconds)) else 1


if __name__ == "__main__":
    sys.exit(main())
