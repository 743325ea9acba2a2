"""What is told of this machine, and the checks of a server that runs here."""

import os

import pytest

from support.in_process import settings_in
from whisper_router.app import build_router
from whisper_router.system import SystemReport


@pytest.fixture
async def report(tmp_path):
    """Of a router with the demo model."""
    async with build_router(settings_in(tmp_path)) as router:
        yield SystemReport(router)


async def test_the_machine_and_the_program_are_told(report):
    """With figures that can be so."""
    told = await report.describe()
    assert told["pid"] == os.getpid()
    assert told["memory"]["total_bytes"] > told["memory"]["router_rss_bytes"] > 10 << 20
    assert {item["purpose"] for item in told["disk"]} == {"models", "spool"}
    assert all(item["free_bytes"] > 0 for item in told["disk"])
    assert "aiohttp" in told["libraries"]
    assert "whispercpp" in {item["name"] for item in told["engines"]}
    assert (told["accelerators"], told["tls"]) == ([], False)


async def test_the_checks_test_the_server_itself(report):
    """The sample is heard by its own engine, and its own port is no problem."""
    found = [finding async for finding in report.examine()]
    assert {"port"}.isdisjoint(finding.subject for finding in found)
    (last,) = [finding for finding in found if finding.subject == "self-test"]
    assert (last.verdict, found[-1]) == ("ok", last)
    (alias,) = (await report.describe())["accelerators"]
    assert (alias["alias"], alias["in_effect"]) == ("demo", "cpu")
