"""What systemd hears, on real sockets."""

import asyncio
import contextlib
import os
import socket
import time

import pytest

from whisper_router.sdnotify import Notifier, notifier_from


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """The service manager's socket and the name that it gives to services."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(15)
        if request.param == "path":
            name = str(tmp_path / "notify")
            listener.bind(name)
        else:
            name = f"@whisper-router-test-{os.getpid()}"
            listener.bind("\0" + name[1:])
        yield listener, name


def test_the_states_of_a_service_are_told(manager):
    """Each is one datagram in the form that sd_notify(3) names."""
    listener, name = manager
    notifier = notifier_from({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("serving\n3 aliases")
    notifier.extend_timeout(1.5)
    notifier.stopping()
    assert [listener.recv(100) for _ in range(4)] == [
        b"READY=1",
        b"STATUS=serving 3 aliases",
        b"EXTEND_TIMEOUT_USEC=1500000",
        b"STOPPING=1",
    ]


async def test_the_watchdog_is_kept_calm_while_the_loop_turns(manager):
    """At half of its period, and not while the loop hangs."""
    listener, name = manager
    listener.setblocking(False)
    notifier = notifier_from({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"})
    loop = asyncio.get_running_loop()
    keeper = loop.create_task(notifier.keep_watchdog_calm())
    async with asyncio.timeout(15):
        began_s = time.monotonic()
        for _ in range(3):
            assert await loop.sock_recv(listener, 100) == b"WATCHDOG=1"
        assert time.monotonic() - began_s > 0.19
    with contextlib.suppress(BlockingIOError):
        while listener.recv(100):  # what came before
            pass
    time.sleep(0.25)  # noqa: ASYNC251 - a loop that hangs is the point of the test
    with pytest.raises(BlockingIOError):
        listener.recv(100)
    keeper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeper


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
async def test_without_a_manager_nothing_happens(environ):
    """The same program runs outside systemd."""
    notifier = notifier_from({**environ, "WATCHDOG_USEC": "1000"})
    notifier.ready()
    async with asyncio.timeout(15):
        await notifier.keep_watchdog_calm()
    assert notifier.watchdog_s is None


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_only_the_process_that_is_watched_answers(environ, watchdog_s):
    """A child that inherited the variables is not meant."""
    assert notifier_from({"NOTIFY_SOCKET": "/x", **environ}, pid=7).watchdog_s == watchdog_s


def test_a_manager_that_is_gone_is_no_error(tmp_path):
    """A service must not die of the manager's troubles."""
    Notifier(str(tmp_path / "none"), watchdog_s=None).ready()
