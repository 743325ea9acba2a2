"""Who listens on a loopback port: our engine, or a stranger?

A port that was free a moment ago may be taken when the engine binds it, and with SO_REUSEPORT an
orphan of an earlier run may even share it. Audio must not go to a stranger.
"""

import enum
import os
import random
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from whisper_router.supervisor.proctable import PROC, family, has_proc, read_table

LOOPBACK: Final = "127.0.0.1"
ENGINE_PORTS: Final = range(20_000, 30_000)  # few of them are registered, and Linux uses none
TRIED_PORTS: Final = 100
EPHEMERAL: Final = PROC / "sys/net/ipv4/ip_local_port_range"  # ip(7)
DYNAMIC_PORTS: Final = (49_152, 65_535)  # RFC 6335, section 6; what macOS uses
LISTEN: Final = "0A"  # TCP_LISTEN in include/net/tcp_states.h
REACHES_LOOPBACK: Final = frozenset(
    {
        "0100007F",  # 127.0.0.1, as the kernel prints it on a little-endian machine
        "7F000001",
        "0" * 8,  # 0.0.0.0
        "0" * 32,  # [::], which takes IPv4 too unless told otherwise
        "0000000000000000FFFF00000100007F",  # [::ffff:127.0.0.1]
    }
)


class Listener(enum.Enum):
    """Whose socket answers on a port."""

    NOBODY = enum.auto()
    OURS = enum.auto()
    STRANGER = enum.auto()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses at this moment. Blocks.

    It lies outside the range from which the kernel serves outgoing connections, if that leaves
    any: one of those could take the port before the engine that it is meant for listens on it.
    """
    first, last = ephemeral_ports()
    ports = [port for port in ENGINE_PORTS if not first <= port <= last]
    for port in random.sample(ports, min(TRIED_PORTS, len(ports))):
        if not is_taken(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def ephemeral_ports() -> tuple[int, int]:
    """Return the first and the last port that the kernel gives to outgoing connections."""
    try:
        first, last = map(int, EPHEMERAL.read_text("ascii").split())
    except (OSError, ValueError):
        return DYNAMIC_PORTS
    return first, last


def is_taken(port: int) -> bool:
    """Tell whether binding the port on 127.0.0.1 would fail now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def who_listens(port: int, leader: int) -> Listener:
    """Tell whether every listener on the port belongs to the leader's family. Blocks.

    Without /proc this cannot be told, and whoever answers is taken for ours.
    """
    if not has_proc():
        return Listener.OURS if is_taken(port) else Listener.NOBODY
    listening = _listening_inodes(port)
    if not listening:
        return Listener.NOBODY
    ours = _socket_inodes(row.pid for row in family(leader, read_table()))
    return Listener.OURS if listening <= ours else Listener.STRANGER


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for name in ("tcp", "tcp6"):
        for fields in _socket_lines(PROC / "net" / name):
            address, _, port_hex = fields[1].partition(":")
            if fields[3] == LISTEN and address in REACHES_LOOPBACK and int(port_hex, 16) == port:
                inodes.add(fields[9])
    return inodes


def _socket_lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()[1:]]
    except OSError:
        return []


def _socket_inodes(pids: Iterable[int]) -> set[str]:
    return {
        link.removeprefix("socket:[").removesuffix("]")
        for pid in pids
        for link in _open_files(pid)
        if link.startswith("socket:[")
    }


def _open_files(pid: int) -> list[str]:
    links = []
    try:
        with os.scandir(PROC / str(pid) / "fd") as entries:
            for entry in entries:
                links.append(os.readlink(entry.path))  # noqa: PERF401, PTH115 - it may vanish half-way
    except OSError:
        pass
    return links
