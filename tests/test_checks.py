"""Checks of a machine and a configuration, one by one."""

import socket

import pytest

from support.in_process import settings_in
from whisper_router.api.services import Verdict
from whisper_router.checks import examine, good, is_loopback


async def no_test():
    yield good("self-test", "not here")


async def found(settings, **options):
    return {item.subject: item async for item in examine(settings, no_test, **options)}


@pytest.mark.parametrize(
    ("host", "is_ours"), [("localhost", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)]
)
def test_hosts_that_only_this_machine_reaches(host, is_ours):
    """Names count as the network's, but for one."""
    assert is_loopback(host) is is_ours


async def test_every_finding_has_a_subject_and_the_last_is_the_self_test(tmp_path):
    """The configuration is sound."""
    items = await found(settings_in(tmp_path))
    assert {"system", "cpu", "memory", "models", "spool", "keys", "port"} <= items.keys()
    assert list(items)[-1] == "self-test"
    assert items["configuration"].verdict is Verdict.GOOD


async def test_a_running_server_has_what_was_in_a_wrong_file_before(tmp_path):
    """Which is no comfort at its start."""
    settings = settings_in(tmp_path)
    auth = settings.auth.model_copy(update={"keys_file": tmp_path / "none.toml"})
    settings = settings.model_copy(update={"auth": auth})
    for is_serving in (False, True):
        item = (await found(settings, is_serving=is_serving))["keys"]
        assert item.verdict is Verdict.BAD
        assert item.text.endswith("what was there before goes on") is is_serving


async def test_a_port_that_is_taken_is_a_warning_unless_it_is_ours(tmp_path):
    """A server that runs has its own."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_in(tmp_path)
        server = settings.server.model_copy(update={"port": taken.getsockname()[1]})
        settings = settings.model_copy(update={"server": server})
        assert (await found(settings))["port"].verdict is Verdict.WARNING
        assert "port" not in await found(settings, is_serving=True)
