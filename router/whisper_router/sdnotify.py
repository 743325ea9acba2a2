"""Tells systemd how the service is: sd_notify(3) as one datagram, without libsystemd.

The protocol is a line of text to a socket; the packages on PyPI for it are unmaintained or need
libsystemd's headers to build.
"""

import asyncio
import os
import socket
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


class Notifier:
    """Sends states to the service manager; does nothing when there is none."""

    def __init__(self, address: str | None, *, watchdog_s: float | None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s
        """How long the manager waits for a sign of life; None: it does not watch."""

    def ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Say that the service is going down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def extend_timeout(self, seconds: float) -> None:
        """Ask for more time to start or stop, counted from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    async def keep_watchdog_calm(self) -> None:
        """Send a sign of life twice per watchdog period, for ever; return if nobody watches.

        It runs on the event loop, so that a loop which no longer turns is restarted.
        """
        while self.watchdog_s is not None and self._address is not None:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 2)

    def _send(self, state: str) -> None:
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(state.encode(), self._address)
            except OSError as error:
                log.warning("notify_failed", error=str(error))


def notifier_from(environ: Mapping[str, str], *, pid: int | None = None) -> Notifier:
    """Return the notifier that `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` ask for.

    `pid` is the process that must be meant by `WATCHDOG_PID`; this one unless given.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return Notifier(None, watchdog_s=None)
    # "@" stands for the zero byte of Linux's abstract namespace
    path = "\0" + address[1:] if address.startswith("@") else address
    return Notifier(path, watchdog_s=_watchdog_s(environ, os.getpid() if pid is None else pid))


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    meant, usec = environ.get("WATCHDOG_PID", str(pid)), environ.get("WATCHDOG_USEC", "")
    if meant != str(pid) or not usec.isdecimal() or int(usec) == 0:
        return None
    return int(usec) / 1_000_000
