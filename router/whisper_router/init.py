"""An init for a router that is started as process 1, in a container that brings none.

Process 1 inherits every orphan of its namespace and has to reap it, and the kernel withholds from
it signals that it has no handler for. As tini does, it leaves the work to a child: the router reaps
what it has started, this process everything else. It has no threads and imports next to nothing.
"""

import os
import signal
from typing import Final

FORWARDED: Final = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
)
SI_KERNEL: Final = 0x80
"""Sent by a terminal, to the child as well: asm-generic/siginfo.h."""


def fork_server() -> int | None:
    """Return None in a child, which is to serve, and in this process its exit code at its end.

    Call it before there are threads or an event loop.
    """
    awaited = FORWARDED | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None
    while True:
        info = signal.sigwaitinfo(awaited)
        if info.si_signo == signal.SIGCHLD:
            if (code := _reap(child)) is not None:
                return code
        elif info.si_code != SI_KERNEL:
            os.kill(child, info.si_signo)


def _reap(child: int) -> int | None:
    """Reap whatever has ended; return the child's code if it was among that, as a shell does."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended
