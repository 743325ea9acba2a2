"""How a real router ends: by a second signal, and as process 1 of a container."""

import asyncio
import contextlib
import signal
import subprocess
import time
from pathlib import Path

import aiohttp
import psutil
import pytest

from support.client import ask, session
from support.engine_processes import engine_processes, the_worker, worker_at_work
from support.processes import begun
from support.server import ServerProcess, running_server

pytestmark = pytest.mark.alone

DEMO = 'default_model = "demo"\n'
PATIENT = f"{DEMO}[server]\nshutdown_grace_s = 100\n[supervision]\nstop_grace_s = 100\n"
GONE_S = 20.0
"""A busy machine's time to end what waits for nothing."""
GRACE_S = 20.0
"""What requests, the engine's keeper and the supervisor may take together, and some."""
LIMIT_S = 100
AS_PROCESS_1 = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_router_at_once(tmp_path, samples, signum):
    """It waits neither for the running request nor for engines, which go with it."""
    path = samples["en_two_speakers_long.wav"]["path"]
    with running_server(tmp_path, config=PATIENT) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            running = begun(ask(http, server.url, path))
            await asyncio.to_thread(worker_at_work, server)
            children = server.descendants()
            assert len(children) >= 3
            for worker in engine_processes(server):
                worker.suspend()  # the request cannot end before the second signal comes
            server.process.send_signal(signum)
            await asyncio.to_thread(server.wait_for_log, "stopping")
            began_s = time.monotonic()
            server.process.send_signal(signum)
            assert await asyncio.to_thread(server.process.wait, 60) == 130
            assert time.monotonic() - began_s < GONE_S
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await running
        assert not [p for p in psutil.wait_procs(children, GONE_S)[1] if _runs(p)]


SLOW_START = """
default_model = "slow"
[server]
shutdown_grace_s = 0.3
[models.slow]
engine = "whisper_server"
model = "demo"
binary = "{program}"
"""


async def test_a_stop_signal_ends_an_engine_that_is_still_starting(tmp_path, samples):
    """Who waits for it is let go after the grace; a program that ignores SIGTERM is killed."""
    program = tmp_path / "never-ready"
    program.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 60; done\n")
    program.chmod(0o755)
    with running_server(tmp_path, config=SLOW_START.format(program=program)) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            waiting = begun(ask(http, server.url, samples["en_hello_gb.wav"]["path"]))
            while not _runs_program(server, program):  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(0.01)
            children = server.descendants()
            began_s = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 60) == 0
            assert time.monotonic() - began_s < GRACE_S
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await waiting
        assert not [p for p in psutil.wait_procs(children, GONE_S)[1] if _runs(p)]


@pytest.fixture
def process_1(tmp_path):
    """A server that is process 1 of a namespace of its own."""
    if subprocess.run([*AS_PROCESS_1, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a namespace of process ids takes root, or CAP_SYS_ADMIN")
    with running_server(tmp_path, config=DEMO, prefix=AS_PROCESS_1) as server:
        yield server


def init_of(server: ServerProcess) -> psutil.Process:
    """Return process 1 of the namespace, as it is seen from outside."""
    (found,) = psutil.Process(server.pid).children()
    return found


async def test_process_1_reaps_orphans_and_ends_on_sigterm(process_1, samples):
    """As in a container without an init: no zombies, a proper end."""
    clip = samples["en_hello_gb.wav"]["path"]
    async with asyncio.timeout(LIMIT_S), session() as http:
        assert (await ask(http, process_1.url, clip))[1]["text"] == "hello world"
        worker = await asyncio.to_thread(the_worker, process_1)
        worker.parent().kill()  # the worker is an orphan, and dies of that
        await asyncio.to_thread(process_1.wait_for_log, "engine_crashed")
        while psutil.pid_exists(worker.pid):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.01)
        assert (await ask(http, process_1.url, clip))[1]["text"] == "hello world"
        family = process_1.descendants()
        assert not [process for process in family if not _runs(process)]
        init_of(process_1).terminate()
        assert await asyncio.to_thread(process_1.process.wait, 60) == 0
    process_1.wait_for_log("stopped")
    assert not [process for process in family if _runs(process)]


def _runs_program(server: ServerProcess, program: Path) -> bool:
    for process in server.descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            if str(program) in process.cmdline()[:3]:
                return True
    return False


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
