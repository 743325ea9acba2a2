"""A server that cannot write: its spool directory is nearly full, its log is read no more."""

import asyncio
import json
import os
import shutil
import subprocess
import sys

import pytest

from support.client import ask, session
from support.server import environment, running_server

LIMIT_S = 60
SMALL = "mount -t tmpfs -o size={mib}m tmpfs '{spool}'"
READ_UNTIL_IT_SERVES = """exec "$0" "$@" 2> >(sed --unbuffered '/"serving"/q' >&2)"""
CONFIG = 'default_model = "demo"\n[audio]\nspool_dir = "{spool}"\n'


@pytest.fixture
def small_spool(tmp_path):
    """Make a server whose spool has so many MiB."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("a mount of one's own takes root, or CAP_SYS_ADMIN")
    spool = tmp_path / "spool"
    spool.mkdir()

    def start(mib: int):
        mount = SMALL.format(mib=mib, spool=spool)
        prefix = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$0" "$@"')
        return running_server(tmp_path, config=CONFIG.format(spool=spool), prefix=prefix)

    return start


async def test_not_ready_while_the_spool_is_full(small_spool, samples):
    """A clip that fits is still answered, and what does not is refused as our fault."""
    clip, long = (samples[f"{n}.wav"]["path"] for n in ("en_hello_gb", "en_two_speakers_long"))
    with small_spool(1) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            async with http.get(f"{server.url}/ready") as response:
                assert response.status == 503
                message = (await response.json())["error"]["message"]
                assert message == "The disk of the spool directory is full."
            async with http.get(f"{server.url}/health") as response:
                assert response.status == 200
            assert (await ask(http, server.url, clip))[1]["text"] == "hello world"
            status, answer = await ask(http, server.url, long)
            assert (status, answer["error"]["code"]) == (503, "storage_full")
            assert (await ask(http, server.url, clip))[1]["text"] == "hello world"


async def test_ready_with_room(small_spool):
    """The limit is a small one."""
    with small_spool(65) as server:
        async with session() as http, http.get(f"{server.url}/ready") as response:
            assert response.status == 200


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash makes the pipe")
async def test_it_serves_although_nobody_reads_its_log(tmp_path, samples):
    """A pipe without a reader refuses every line, as a full disk does."""
    until_it_serves = ("bash", "-c", READ_UNTIL_IT_SERVES)
    with running_server(
        tmp_path, config='default_model = "demo"\n', prefix=until_it_serves
    ) as server:
        async with asyncio.timeout(LIMIT_S), session() as http:
            status, answer = await ask(http, server.url, samples["en_hello_gb.wav"]["path"])
            assert (status, answer["text"]) == (200, "hello world")
            async with http.get(f"{server.url}/nothing") as response:
                assert response.status == 404
        assert server.stop() == 0
        assert server.log[-1]["event"] == "serving"


async def test_it_serves_although_its_log_is_full_of_lines_that_nobody_reads(tmp_path):
    """A terminal that was halted, a collector that hangs: far more than a pipe holds."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "whisper_router.cli", "serve"),
        env=environment(tmp_path),
        stderr=writing,
    )
    os.close(writing)

    def url() -> str:
        with os.fdopen(os.dup(reading), "r") as log:
            return str(json.loads(next(line for line in log if '"serving"' in line))["url"])

    try:
        async with asyncio.timeout(LIMIT_S), session() as http:
            address = f"{await asyncio.to_thread(url)}/nothing"
            for _ in range(600):  # 64 KiB are 250 lines
                async with http.get(address) as response:
                    assert response.status == 404
            process.terminate()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(reading)
