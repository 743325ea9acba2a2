"""`whisper-router transcribe` with a model that is not here yet."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from support.hub import Hub
from support.server import environment
from support.speech import DEMO_MODEL, sample

REPO, FILE = "somebody/models", "ggml-remote.bin"
CONFIG = f"""
default_model = "remote"
[models.remote]
repo = "{REPO}"
file = "{FILE}"
[store]
min_free_bytes = 0
"""


@pytest.fixture
async def hub():
    """A hub that has the demo model under another name."""
    async with Hub().running() as running:
        running.add(f"{REPO}/{FILE}", DEMO_MODEL.read_bytes())
        yield running


async def transcribe(directory: Path, hub: Hub, path: Path, **env: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr."""
    config = directory / "router.toml"
    config.write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "whisper_router.cli", "transcribe"),
        *("--config", str(config), str(path)),
        env=environment(directory)
        | {"HF_ENDPOINT": hub.url, "WHISPER_ROUTER__STORE__OFFLINE": "false"}
        | env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_an_absent_model_is_fetched_first_and_the_user_sees_how_far_that_is(tmp_path, hub):
    """On stderr: stdout is the text alone. The second time it is here."""
    path = sample("en_hello_gb").path
    code, out, err = await transcribe(tmp_path, hub, path)
    assert (code, out) == (0, "hello world\n"), err
    assert re.search(r"^remote: \d+ % of 7\.6 MiB$", err, re.MULTILINE)
    code, out, err = await transcribe(tmp_path, hub, path)
    assert (code, out) == (0, "hello world\n"), err
    assert "remote" not in err
    assert hub.starts(f"{REPO}/{FILE}") == [0]


async def test_a_model_that_may_not_be_fetched_is_one_error_with_its_place(tmp_path, hub):
    """The message, unbroken, says which command fetches it and where the file goes."""
    path = sample("en_hello_gb").path
    code, out, err = await transcribe(
        tmp_path, hub, path, WHISPER_ROUTER__STORE__AUTO_DOWNLOAD="false"
    )
    assert (code, out) == (1, "")
    assert "whisper-router models pull remote" in err
    assert FILE in err
    assert hub.starts(f"{REPO}/{FILE}") == []
