"""Keeps a number of worker processes alive, and ends with them.

The keeper holds what the workers share (the listening socket, and the weights when they are
forked), so it must do nothing else: no threads, no computation, before or after a fork.
"""

import ctypes
import gc
import mmap
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from whisper_router_engines.whispercpp.ends import Ends, describe_end
from whisper_router_engines.whispercpp.notes import described

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
MAX_DEATHS = 5
DEATHS_WINDOW_S = 10.0
STOP_GRACE_S = 2.0
DELIBERATE = frozenset(
    {0, -signal.SIGHUP, -signal.SIGINT, -signal.SIGKILL, -signal.SIGTERM}
)  # as in engine_api, which takes too long to import
"""Ends that somebody wanted: they are no sign of a crash loop."""


class CrashLoopError(Exception):
    """Workers die before they serve anything."""


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


class StartError(Exception):
    """A worker could not start and has said why; another one could not either."""


class Accepted:
    """A count of accepted connections, shared with workers that are forked later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def note(self) -> None:
        """Count one. Two workers may collide: what matters is that the value moves."""
        self._memory[:8] = (self.value() + 1).to_bytes(8, "little")

    def value(self) -> int:
        """Return the count."""
        return int.from_bytes(self._memory[:8], "little")


def fork_worker(serve: Callable[[], None]) -> int:
    """Start a worker that runs `serve` on what this process has loaded; return its id."""
    parent = os.getpid()
    gc.freeze()  # objects from before the fork are never collected: their pages stay shared
    if pid := os.fork():
        return pid
    try:
        die_with_parent()
        if os.getppid() == parent:
            _forget_signals()
            _detach_stdin()
            serve()
    except BaseException as error:  # noqa: BLE001 the end of a process: say why and leave
        print(f"worker: {described(error)}", file=sys.stderr, flush=True)  # noqa: T201
    finally:
        os._exit(1)


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keeper passes an interrupt on


def _detach_stdin() -> None:
    """Leave the keeper the only reader of stdin, whose end is the order to stop."""
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Starts `count` workers with `start` and replaces each that ends.

    How each one ended goes to `ends`. A worker that ends with a `fatal` exit code is not replaced:
    it ends them all.
    """

    count: int
    start: Callable[[], int]
    accepted: Accepted
    ends: Ends
    fatal: frozenset[int] = frozenset()
    _workers: set[int] = field(default_factory=set)
    _deaths: deque[float] = field(default_factory=deque)
    _accepted_before: int = 0

    def run(self) -> None:
        """Return after SIGTERM, SIGINT or the end of stdin; the workers are gone then.

        Raises:
            CrashLoopError: workers died again and again without serving.
            StartError: a worker ended with a fatal exit code.
        """
        with _signals() as wakeup:
            try:
                while True:
                    self._fill()
                    if self._wait(wakeup):
                        return
                    self._reap()
            finally:
                self._stop()

    def _fill(self) -> None:
        while len(self._workers) < self.count:
            self._workers.add(self.start())

    def _wait(self, wakeup: socket.socket) -> bool:
        """Return whether it is time to stop, once something has happened."""
        readable, _, _ = select.select([0, wakeup.fileno()], [], [])
        if 0 in readable and not os.read(0, 4096):
            return True
        numbers = wakeup.recv(4096) if wakeup.fileno() in readable else b""
        return signal.SIGTERM in numbers or signal.SIGINT in numbers

    def _reap(self) -> None:
        for code in self._ended():
            self._count_death(code)

    def _ended(self) -> Iterator[int]:
        """Reap the workers that have ended; yield their exit codes."""
        for pid in tuple(self._workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                self._workers.discard(pid)
                self.ends.add(pid, code)
                yield code

    def _count_death(self, code: int) -> None:
        if self.accepted.value() != self._accepted_before:
            self._accepted_before = self.accepted.value()
            self._deaths.clear()
        if code in self.fatal:
            raise StartError
        if code in DELIBERATE:
            return
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_WINDOW_S:
            self._deaths.popleft()
        if len(self._deaths) >= MAX_DEATHS:
            raise CrashLoopError(
                f"{MAX_DEATHS} workers in succession ended before they served anything; "
                f"the last one with {describe_end(code)}"
            )

    def _stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._workers:
                os.kill(pid, number)
            deadline = time.monotonic() + STOP_GRACE_S
            while self._workers and time.monotonic() < deadline:
                for _ in self._ended():
                    pass
                time.sleep(0.005)


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Deliver signals as bytes on a socket: no handler runs between two of our lines."""
    reading, writing = socket.socketpair()
    reading.setblocking(False)
    writing.setblocking(False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        reading.close()
        writing.close()
