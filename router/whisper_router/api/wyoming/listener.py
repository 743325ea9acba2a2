"""Accepts Wyoming's clients on a port or a socket file."""

import asyncio
import contextlib
import errno
import socket
from pathlib import Path
from typing import Final

import structlog

from whisper_router.api.wyoming.address import Address, TcpAddress, UnixAddress
from whisper_router.api.wyoming.announcement import announce
from whisper_router.api.wyoming.connection import Connection
from whisper_router.api.wyoming.service import WyomingService
from whisper_router.api.wyoming.wire import MAX_HEADER_BYTES, Wire
from whisper_router.errors import ConfigurationError, TooManyOpenFiles
from whisper_router.tasks import Tasks

KEEPALIVE: Final = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A machine that went away without a word is noticed after a minute (tcp(7); names of Linux)."""
CONNECT_S: Final = 1.0

log = structlog.get_logger(__name__)


class WyomingListener:
    """The socket, and every connection that came over it."""

    def __init__(self, service: WyomingService) -> None:
        self._service = service
        self._tasks, self._stopping = Tasks(), asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._socket_file: tuple[Path, int] | None = None
        self._announcing: asyncio.Task[None] | None = None

    async def open(self, address: Address, *, socket_mode: int) -> Address:
        """Begin to listen; return where, with the port that was taken.

        Raises:
            ConfigurationError: the address cannot be used.
        """
        try:
            bound = await asyncio.to_thread(_bind, address, socket_mode)
        except OSError as error:
            raise ConfigurationError(
                f"wyoming.uri: cannot listen on {address.uri}: {error.strerror or error}"
            ) from error
        if isinstance(address, UnixAddress):
            self._server = await asyncio.start_unix_server(
                self._accept, sock=bound, limit=MAX_HEADER_BYTES
            )
            inode = (await asyncio.to_thread(address.path.stat)).st_ino
            self._socket_file = address.path, inode
            return address
        host, port = bound.getsockname()[:2]
        self._server = await asyncio.start_server(self._accept, sock=bound, limit=MAX_HEADER_BYTES)
        return TcpAddress(host=host, port=port)

    def announce(self, address: TcpAddress, name: str) -> None:
        """Let the local network know of the address until `close`."""
        self._announcing = self._tasks.spawn(announce(address, name), name="announce Wyoming")

    async def close(self, grace_s: float) -> None:
        """Accept nobody any more, and let who is there be told what was heard, for `grace_s`."""
        if self._server is not None:
            self._server.close()
        if self._announcing is not None:
            self._announcing.cancel()
        self._stopping.set()
        if self._connections:
            await asyncio.wait(self._connections, timeout=grace_s)
        await self._tasks.close()
        if self._socket_file is not None:
            await asyncio.to_thread(_remove, *self._socket_file)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limits = self._service.limits
        wire = Wire(reader, writer, write_timeout_s=limits.write_timeout_s)
        is_surplus = len(self._connections) >= limits.max_connections
        serving = _refuse(wire) if is_surplus else self._serve(wire)
        task = self._tasks.spawn(serving, name="serve a Wyoming client")
        if not is_surplus:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, wire: Wire) -> None:
        await Connection(wire, self._service).hold(self._stopping)


async def _refuse(wire: Wire) -> None:
    """Tell a client that there are too many."""
    log.warning("wyoming_client_refused")
    with contextlib.suppress(ConnectionError):
        await wire.refuse("Too many clients are connected.", str(TooManyOpenFiles.code))
    await wire.close()


def _bind(address: Address, socket_mode: int) -> socket.socket:
    """Return a socket with that address. Blocking."""
    if isinstance(address, TcpAddress):
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        bound = socket.create_server(
            (address.host, address.port), family=family, dualstack_ipv6=address.host == "::"
        )
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # connections inherit it
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return bound
    _remove_stale(address.path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(address.path))
        address.path.chmod(socket_mode)  # nobody can connect before it is listened on
    except BaseException:
        bound.close()
        raise
    return bound


def _remove_stale(path: Path) -> None:
    """Remove the socket file of a server that is gone; one of a server that lives is an error."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another server listens there")


def _remove(path: Path, inode: int) -> None:
    """Remove our socket file, and not one that another server has put in its place."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()
