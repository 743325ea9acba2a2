"""The Containerfile: hadolint's rules, ours, and the health check run for real."""

import asyncio
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "Containerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")
ACCELERATIONS = {"cpu", "openblas", "vulkan", "cuda"}


def instructions() -> Sequence[tuple[str, str]]:
    """Return (instruction, arguments) with continued lines joined and comments dropped."""
    lines = (line for line in CONTAINERFILE.read_text().splitlines() if line[:1] != "#")
    joined = "\n".join(lines).replace("\\\n", "")
    split = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(name, text.strip()) for name, _, text in split]


def arguments(name: str) -> Sequence[str]:
    """Return what follows every `name`, in order."""
    return [text for instruction, text in instructions() if instruction == name]


def copied() -> Sequence[str]:
    """Return the paths that are copied from the build context."""
    sources = (text.split()[:-1] for text in arguments("COPY") if "--from=" not in text)
    return [path.removeprefix("./") for paths in sources for path in paths]


def health_check() -> Sequence[str]:
    """Return the command of HEALTHCHECK, with this interpreter in place of the image's."""
    [text] = arguments("HEALTHCHECK")
    python, *rest = json.loads(text.partition(" CMD ")[2])
    assert python == "/opt/whisper-router/bin/python"
    return [sys.executable, *rest]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the linter."""
    return subprocess.run(
        [HADOLINT, "--no-color", path], capture_output=True, text=True, timeout=60, check=False
    )


def test_hadolint_finds_nothing():
    """Tags, apt-get, pip, users, exec forms and the shell lines."""
    verdict = hadolint(CONTAINERFILE)

    assert (verdict.returncode, verdict.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path):
    """The linter is not configured into silence."""
    bad = tmp_path / "Containerfile"
    bad.write_text("FROM debian\nRUN apt-get install gcc\n")

    assert "DL3006" in hadolint(bad).stdout


def test_every_base_image_has_a_registry_and_a_version():
    """`podman` asks which registry is meant when none is named."""
    images = [text.split("=", 1)[1] for text in arguments("ARG") if "_IMAGE=" in text]

    assert len(images) == 4
    assert all(re.fullmatch(r"docker\.io/[a-z/]+:[0-9][\w.-]+", image) for image in images)


@pytest.mark.parametrize("acceleration", sorted(ACCELERATIONS))
def test_every_acceleration_has_its_stages_and_is_explained(acceleration):
    """`FROM build-${ACCELERATION}` needs a stage of that name, the user a word about it."""
    stages = {text.split(" AS ")[1] for text in arguments("FROM")}

    assert {f"build-{acceleration}", f"run-{acceleration}"} <= stages
    assert re.search(rf"^#   {acceleration} ", CONTAINERFILE.read_text(), flags=re.MULTILINE)


def test_the_image_runs_as_nobody_in_particular_under_an_init():
    """The last stage decides; a number lets Kubernetes see that it is not root."""
    assert arguments("USER") == ["10001:10001"]
    assert arguments("ENTRYPOINT") == ['["/usr/bin/tini", "--", "whisper-router"]']
    assert arguments("CMD") == ['["serve"]']


def test_what_must_survive_the_container_lies_in_a_volume():
    """Models, and the state: jobs, what keys have used. The user can write to both."""
    volumes = json.loads(arguments("VOLUME")[-1])
    variables = dict(item.split("=", 1) for item in arguments("ENV")[-1].split())
    kept = [variables["WHISPER_ROUTER__STORE__DIRECTORY"], variables["STATE_DIRECTORY"]]
    made = " ".join(arguments("RUN"))

    assert volumes == kept
    assert all(
        re.search(rf"install -d [^&]*-o whisper-router [^&]*{name}\b", made) for name in kept
    )


def test_no_library_reports_its_use_to_its_maker():
    """ONNX Runtime does; its switch must be set before it is imported."""
    assert "ORT_DISABLE_TELEMETRY=1" in arguments("ENV")[-1].split()


def test_the_layers_keep_no_package_lists_or_caches():
    """What a layer once held, the image holds."""
    apt = [text for text in arguments("RUN") if "apt-get" in text]
    pip = [text for text in arguments("RUN") if "bin/pip" in text]

    assert apt
    assert pip
    assert all(
        "--no-install-recommends" in text and "rm -rf /var/lib/apt/lists/*" in text for text in apt
    )
    assert all("--no-cache-dir" in text for text in pip)


def test_everything_that_the_wheel_is_made_of_is_copied():
    """hatchling would leave out, or miss, what is not there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {path.split("/")[0] for path in (*wheel["packages"], *wheel["shared-data"])}
    needed |= {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}

    assert needed <= set(copied())


@pytest.mark.parametrize("path", copied())
def test_every_copied_path_is_there_and_reaches_the_builder(path):
    """.containerignore refuses everything that it does not name."""
    let_in = (ROOT / ".containerignore").read_text().splitlines()

    assert (ROOT / path).exists()
    assert f"!{path}" in let_in


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
async def test_the_health_check_tells_a_live_server_from_another(status, code):
    """The command itself, against a real server on another port."""

    async def health(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        assert await exit_code(port=runner.addresses[0][1]) == code
    finally:
        await runner.cleanup()


async def test_the_health_check_fails_where_nobody_listens():
    """Port 1 is nobody's here."""
    assert await exit_code(port=1) == 1


async def exit_code(*, port: int) -> int:
    """Run the health check as the container would."""
    process = await asyncio.create_subprocess_exec(
        *health_check(),
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "WHISPER_ROUTER__SERVER__PORT": str(port)},
    )
    async with asyncio.timeout(60):
        return await process.wait()
