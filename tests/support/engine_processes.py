"""The engine processes of a running server, to be killed and frozen by tests."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psutil

from support.chaos import workers
from support.server import ServerProcess

APPEAR_S = 30.0
AT_WORK_S = 0.05
"""So much computing is no bookkeeping between two chunks."""


def engine_processes(server: ServerProcess) -> list[psutil.Process]:
    """Return the processes that run whisper.cpp for this server: leaders, then their workers."""
    found = []
    for process in server.descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "whisper_router_engines" in " ".join(process.cmdline()):
                found.append(process)
    return found


def forked_workers(server: ServerProcess) -> list[psutil.Process]:
    """Return the workers that were forked by a leader; a process that ends is not counted."""
    leaders = engine_processes(server)
    found = []
    for process in leaders:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.parent() in leaders:
                found.append(process)
    return found


def the_worker(server: ServerProcess) -> psutil.Process:
    """Return the only worker of the only engine, once it is there."""
    deadline_s = time.monotonic() + APPEAR_S
    while len(found := forked_workers(server)) != 1:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.01)
    return found[0]


def worker_at_work(server: ServerProcess) -> psutil.Process:
    """Return a worker that has computed for `AT_WORK_S` while this call watched it.

    It looks at these processes alone: with all of the machine's it could be too late.
    """
    deadline_s = time.monotonic() + APPEAR_S
    before_s: dict[int, float] = {}
    while time.monotonic() < deadline_s:
        for pid in workers(server):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker = psutil.Process(pid)
                used_s = worker.cpu_times().user
                if used_s - before_s.setdefault(pid, used_s) >= AT_WORK_S:
                    return worker
        time.sleep(0.01)
    raise AssertionError("no worker computes")


@contextlib.contextmanager
def frozen(worker: psutil.Process) -> Iterator[None]:
    """Keep a worker from computing, accepting or answering anything until the block ends."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGCONT)
