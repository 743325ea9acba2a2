"""The keeper of the workers."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from whisper_router_engines.whispercpp.prefork import MAX_DEATHS, Accepted

MODES = Path(__file__).parents[2] / "support" / "whispercpp_modes.py"


async def test_a_crash_loop_ends_the_keeper(tmp_path):
    """Workers that die before they serve are not forked for ever; each end is written down."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(MODES),
        "crashing",
        str(tmp_path / "s"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(30):
        said = await process.stdout.read()
        assert await process.wait() == 0
    assert f"{MAX_DEATHS} workers in succession".encode() in said
    assert b"SIGABRT" in said
    ends = json.loads((tmp_path / "s.ends").read_text())
    assert len(ends) >= MAX_DEATHS
    assert {code for _, code, _ in ends} <= {-signal.SIGABRT, -signal.SIGTERM}


async def test_a_worker_that_cannot_start_ends_the_keeper(tmp_path):
    """It has said why; a slow load that fails is not to be repeated for half an hour."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(MODES),
        "failing",
        str(tmp_path / "s"),
        *("/bin/sh", "-c", "echo begun; exit 1"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        said = await process.stdout.read()
        process.stdin.close()
        assert await process.wait() == 0
    assert said.endswith(b"start error\n")
    assert said.count(b"begun") <= 2


def test_accepted_connections_are_counted():
    """The count tells a worker that served from one that never did."""
    accepted = Accepted()
    before = accepted.value()
    accepted.note()
    assert accepted.value() == before + 1
