"""Whose socket is it?"""

import os
import socket
import subprocess
import sys

import pytest

from whisper_router.supervisor import listeners
from whisper_router.supervisor.listeners import (
    ENGINE_PORTS,
    Listener,
    ephemeral_ports,
    free_port,
    is_taken,
    who_listens,
)

SERVE = (
    "import socket, sys\n"
    "s = socket.socket()\n"
    "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
    "s.bind((sys.argv[1], int(sys.argv[2]))); s.listen()\n"
    "print('up', flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def serve():
    """Start programs that listen."""
    started = []

    def start(address: str, port: int) -> int:
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", SERVE, address, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(child)
        assert child.stdout.readline() == b"up\n"
        return child.pid

    yield start
    for child in started:
        child.communicate()


def test_nobody_listens_on_a_free_port():
    """A port from `free_port` is free."""
    port = free_port()
    assert who_listens(port, os.getpid()) is Listener.NOBODY
    assert not is_taken(port)


def test_no_outgoing_connection_takes_a_free_port():
    """One may be made between the choice of the port and the engine's start."""
    first, last = ephemeral_ports()
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert first <= server.getsockname()[1] <= last
    if first <= ENGINE_PORTS.start and ENGINE_PORTS.stop <= last:
        pytest.skip("this machine's kernel gives every port to outgoing connections")
    assert not any(first <= free_port() <= last for _ in range(200))


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("32768\t60999\n", (32768, 60999)),
        ("1024 65535\n", (1024, 65535)),
        ("", (49152, 65535)),
        (None, (49152, 65535)),
    ],
)
def test_the_kernel_may_use_any_ports(tmp_path, monkeypatch, text, bounds):
    """Whatever is left of ours is used; without any, a port that is free now has to do."""
    monkeypatch.setattr(listeners, "EPHEMERAL", tmp_path / "range")
    if text is not None:
        (tmp_path / "range").write_text(text)
    assert ephemeral_ports() == bounds
    assert not is_taken(free_port())


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_is_told_from_a_stranger(serve, address):
    """The child's own socket is ours, for everybody else it is a stranger's."""
    port = free_port()
    child = serve(address, port)
    assert who_listens(port, child) is Listener.OURS
    assert who_listens(port, child + 1_000_000) is Listener.STRANGER
    assert is_taken(port)


def test_a_port_shared_with_a_stranger_is_not_ours(serve):
    """With SO_REUSEPORT an orphan would get a part of the connections."""
    port = free_port()
    first, second = serve("127.0.0.1", port), serve("127.0.0.1", port)
    assert who_listens(port, first) is Listener.STRANGER
    assert who_listens(port, second) is Listener.STRANGER


def test_another_address_of_the_machine_does_not_count(serve):
    """127.0.0.2 is not where the engine is asked."""
    port = free_port()
    serve("127.0.0.2", port)
    assert who_listens(port, os.getpid()) is Listener.NOBODY


def test_an_ipv6_wildcard_listener_counts():
    """[::] takes IPv4 connections too."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        assert who_listens(port, os.getpid()) is Listener.OURS
