"""One child program: its process group, its pipes, its end."""

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Final

from whisper_router.supervisor.guard import guarded, signal_group
from whisper_router.supervisor.output import Drain, OutputRing

OUTPUT_LINES: Final = 200
LINE_BYTES: Final = 2000
DRAIN_S: Final = 0.5
"""How long to wait for the end of output after the end of the program."""


class Child:
    """A program in a session and group of its own. Its group is killed when it ends, however.

    Starting it is one blocking call of a few milliseconds, from the loop's own thread: nothing
    can be cancelled half-way, and the kernel ties the child to the thread that forks it.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        env: Mapping[str, str],
        *,
        on_exit: Callable[[], None],
        files: int | None = None,
    ) -> None:
        """Start it, with a soft limit of so many `files`; None: as many as this process has.

        Raises:
            OSError: there is no such program, or no resources for it.
        """
        self._on_exit = on_exit
        self._loop = asyncio.get_running_loop()
        self.output = OutputRing(lines=OUTPUT_LINES, line_bytes=LINE_BYTES)
        self.exited = asyncio.Event()
        self._popen, stdin, outputs = _start(guarded(argv, files=files), env)
        self._stdin: int | None = stdin
        self._drains = [Drain(fd, self.output.splitter()) for fd in outputs]
        self._pidfd = self.open_pidfd(self.pid)
        if self._pidfd is None:
            threading.Thread(
                target=self._wait_in_thread, name=f"wait {self.pid}", daemon=True
            ).start()
        else:
            self._loop.add_reader(self._pidfd, self._end)

    @staticmethod
    def open_pidfd(pid: int) -> int | None:
        """Return a descriptor that becomes readable when the process ends (Linux 5.3), if any."""
        try:
            return os.pidfd_open(pid)
        except (AttributeError, OSError):
            return None

    @property
    def pid(self) -> int:
        """The leader's process id, which is also its group's."""
        return self._popen.pid

    @property
    def code(self) -> int | None:
        """How it ended, negative for a signal; None while it runs."""
        return self._popen.returncode

    def check(self) -> bool:
        """Tell whether it still runs, asking the system and not the event loop."""
        if self._pidfd is not None:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            if poll.poll(0):
                self._end()
        return not self.exited.is_set()

    def signal(self, signum: signal.Signals) -> None:
        """Signal the whole group, unless the leader has ended."""
        if not self.exited.is_set():
            signal_group(self.pid, signum)

    async def wait(self, *, timeout_s: float) -> bool:
        """Return True once it has ended, False when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.exited.wait()
        return self.exited.is_set()

    async def drain(self) -> None:
        """Read what it printed last, for a bounded time, and let go of its pipes."""
        try:
            await asyncio.gather(*(drain.finish(timeout_s=DRAIN_S) for drain in self._drains))
        finally:
            self.close_pipes()

    def close_pipes(self) -> None:
        """Let go of its pipes now. The end of its stdin asks it to exit."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None
        for drain in self._drains:
            drain.close()

    def _end(self) -> None:
        if self.exited.is_set():
            return
        # With a pidfd it is not reaped yet, so nobody else has its pid: the group is its own.
        signal_group(self.pid, signal.SIGKILL)
        self._popen.wait()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self.exited.set()
        self._on_exit()

    def _wait_in_thread(self) -> None:
        self._popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            self._loop.call_soon_threadsafe(self._end)


def _start(
    argv: tuple[str, ...], env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int, tuple[int, int]]:
    """Start a program with three pipes; return it, its stdin, and its (stdout, stderr)."""
    # Own pipes, not subprocess's: asyncio may not report an exit while a grandchild holds them.
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        stdin, to_child = _pipe(theirs, ours)
        from_out, stdout = _pipe(ours, theirs)
        from_err, stderr = _pipe(ours, theirs)
        popen = subprocess.Popen(
            argv, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
        ours.pop_all()
    return popen, to_child, (from_out, from_err)


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """Make a pipe whose ends are closed with the stacks that own them."""
    fds = os.pipe()
    for stack, fd in zip((reader, writer), fds, strict=True):
        stack.callback(os.close, fd)
    return fds
