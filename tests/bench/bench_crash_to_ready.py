"""How long a killed worker, and a killed engine process, are missed.

Usage: bench_crash_to_ready.py [--workers N] [--processes N]

The worker is the only one of a bare engine process: it is killed with SIGKILL, and a request that
comes at once waits on the socket until the next worker accepts it. The process is that of a server
and has random weights in the size and shape of whisper's `base` in f16 (148 MB), like the worker's:
it is killed, in turn while it is idle and while it has a request, and another request follows at
once; the time ends when its successor is ready. Each time an engine of the same kind is started
without a router, for comparison: that is the load time.
"""

import argparse
import asyncio
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.chaos import keepers
from support.client import ask, session, until_queue
from support.load import OtherLoad
from support.processes import begun, gone
from support.server import ServerProcess, running_server
from support.speech import DEMO_MODEL, sample
from support.whispercpp_ggml import as_f16, random_model, read
from support.whispercpp_memory import forked
from whisper_router.testing.harness import Running

LIMIT_WORKER_S = 0.1
LIMIT_PROCESS_S = 1.5
"""Beyond the load time."""
ANSWER_S = 60.0
CLIP = sample("en_hello_gb").path
PROBE = b"GET /health HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n"
CONFIG = """default_model = "base"
[models.base]
path = "{model}"
preload = true
threads = 1
temperature_increment = 0.0
"""


def main() -> int:
    """Print the table; 1 when a limit is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=30, help="kills of a worker")
    parser.add_argument("--processes", type=int, default=15, help="kills of a process")
    arguments = parser.parse_args()
    others = OtherLoad()
    with tempfile.TemporaryDirectory() as name:
        base = random_model(as_f16(read(DEMO_MODEL)), width=512, layers=6, ends_at_once=True)
        model = base.write(Path(name) / "base.bin")
        workers_s = asyncio.run(killed_workers(model, arguments.workers))
        with running_server(Path(name), config=CONFIG.format(model=model)) as server:
            server.wait_for_log("engine_ready")
            processes_s = asyncio.run(killed_processes(server, model, arguments.processes))
        size_mb = model.stat().st_size / 1e6
        busy = others.cores()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.platform()}; a model of ", end=""
    )
    print(f"{size_mb:.0f} MB; other programs used {busy:.2f} cores meanwhile\n")
    return 0 if table(workers_s, processes_s) else 1


async def killed_workers(model: Path, kills: int) -> list[float]:
    """Kill the worker again and again; return how long each time until another one accepts."""
    took_s = []
    async with forked(model, 1) as (engine,):
        leader = psutil.Process(engine.process.pid)
        for _ in range(kills):
            (worker,) = leader.children()
            began_s = time.monotonic()
            os.kill(worker.pid, signal.SIGKILL)
            await answered(engine)
            took_s.append(time.monotonic() - began_s)
            assert worker.pid not in {child.pid for child in leader.children()}
    return took_s


async def answered(engine: Running) -> None:
    """Return once a worker answers a probe; one that was killed meanwhile breaks off."""
    async with asyncio.timeout(ANSWER_S):
        answer = b""
        while b" 200 " not in answer.partition(b"\r\n")[0]:
            reader, writer = await asyncio.open_unix_connection(str(engine.endpoint.socket))
            writer.write(PROBE)
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
            finally:
                writer.close()


async def killed_processes(
    server: ServerProcess, model: Path, kills: int
) -> list[tuple[float, float]]:
    """Kill the engine process; return how long each time until its successor, and to load one."""
    took_s = []
    async with session() as http:
        for number in range(kills):
            back_s = await back_after_kill(http, server, ready=number + 1, is_busy=number % 2 == 1)
            began_s = time.monotonic()
            async with forked(model, 1):
                took_s.append((back_s, time.monotonic() - began_s))
    return took_s


async def back_after_kill(
    http: aiohttp.ClientSession, server: ServerProcess, *, ready: int, is_busy: bool
) -> float:
    """Kill the engine, which was ready so many times; return how long until it is once more."""
    (leader,) = keepers(server)
    requests = []
    if is_busy:
        requests.append(begun(ask(http, server.url, CLIP, language="en")))
        await until_queue(http, server.url, running=1, waiting=0, alias="base")
    began_s = time.monotonic()
    os.kill(leader, signal.SIGKILL)
    requests.append(begun(ask(http, server.url, CLIP, language="en")))
    await asyncio.to_thread(server.wait_for_log, "engine_ready", count=ready + 1)
    took_s = time.monotonic() - began_s
    for status, answer in await asyncio.gather(*requests):
        assert status == 200, answer
    async with asyncio.timeout(ANSWER_S):
        await gone(leader)
    return took_s


def table(workers_s: list[float], processes_s: list[tuple[float, float]]) -> bool:
    """Print what was measured; return whether the medians are within their limits.

    The longest times are those of moments in which the machine did something else.
    """
    over_s = [back_s - load_s for back_s, load_s in processes_s]
    rows = [
        ("worker accepts again", workers_s, LIMIT_WORKER_S),
        ("process is ready again", [back_s for back_s, _ in processes_s], None),
        ("load time without a router", [load_s for _, load_s in processes_s], None),
        ("process, beyond its load time", over_s, LIMIT_PROCESS_S),
    ]
    print("| after SIGKILL | times | p50, ms | max, ms | limit (p50), ms |")
    print("|---|---|---|---|---|")
    for name, times, limit_s in rows:
        limit = "" if limit_s is None else f"{limit_s * 1000:.0f}"
        p50_ms, max_ms = statistics.median(times) * 1000, max(times) * 1000
        print(f"| {name} | {len(times)} | {p50_ms:.0f} | {max_ms:.0f} | {limit} |")
    limited = [(times, limit_s) for _, times, limit_s in rows if limit_s is not None]
    return all(statistics.median(times) <= limit_s for times, limit_s in limited)


if __name__ == "__main__":
    sys.exit(main())
