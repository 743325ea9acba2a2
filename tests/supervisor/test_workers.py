"""One worker is ended, surely and only it."""

import asyncio
import dataclasses
import subprocess
import sys

import pytest

from support.processes import is_alive
from whisper_router.supervisor import proctable
from whisper_router.supervisor.workers import end_worker

STUBBORN = (
    "import signal, time; signal.signal(15, signal.SIG_IGN)\n"
    "print('up', flush=True); time.sleep(60)"
)


@pytest.fixture
def start():
    """Start programs; they are killed and reaped at the end."""
    started = []

    def _start(code: str) -> proctable.Row:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )
        started.append(child)
        assert child.stdout.readline() == b"up\n"
        return proctable.read_row(child.pid)

    yield _start
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("code", ["print('up', flush=True); input()", STUBBORN])
async def test_a_worker_is_gone_afterwards(start, code):
    """Also one that ignores SIGTERM."""
    worker = await asyncio.to_thread(start, code)
    async with asyncio.timeout(15):
        await end_worker(worker, grace_s=0.1)
    assert not is_alive(worker.pid)


async def test_who_has_the_pid_of_a_worker_that_is_gone_is_spared(start):
    """The start time tells that it is another process."""
    worker = await asyncio.to_thread(start, "print('up', flush=True); input()")
    async with asyncio.timeout(15):
        await end_worker(dataclasses.replace(worker, started="earlier"), grace_s=0.1)
    assert is_alive(worker.pid)
