"""Whose socket is it?"""

import os
import socket
import subprocess
import sys

import pytest

from whisper_router.supervisor.listeners import Listener, free_port, is_taken, who_listens

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
