"""The program around the model: devices, modes and ends."""

# ruff: noqa: ASYNC110 other processes set no events of ours

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from support.speech import DEMO_MODEL
from whisper_router.engine_api import Endpoint, EndpointKind
from whisper_router_engines.whispercpp.engine import WORKER_MODULE, WhisperCpp
from whisper_router_engines.whispercpp.native import Device
from whisper_router_engines.whispercpp.options import WhisperCppOptions
from whisper_router_engines.whispercpp.worker import (
    DeviceError,
    Mode,
    choose_device,
    choose_mode,
)

MODES = Path(__file__).parents[2] / "support" / "whispercpp_modes.py"
CUDA = Device(index=0, name="CUDA0", description="a card", kind="cuda")
VULKAN = Device(index=1, name="Vulkan0", description="a card", kind="vulkan")


def worker_arguments(socket: Path, *, workers: int = 1) -> list[str]:
    options = WhisperCppOptions(workers=workers).model_dump_json()
    arguments = ["--model", str(DEMO_MODEL), "--socket", str(socket)]
    return [*arguments, "--workers", str(workers), "--options", options]


async def modes(
    mode: str, *arguments: str, stderr: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(MODES),
        mode,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


async def serves(socket: Path) -> None:
    """Return once something answers at the socket."""
    engine = WhisperCpp()
    endpoint = Endpoint(kind=EndpointKind.UNIX, url="http://engine", socket=socket)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as http:
        while True:
            try:
                assert await engine.is_ready(http, endpoint) is not None
            except (aiohttp.ClientError, OSError):
                await asyncio.sleep(0.02)
            else:
                return


@pytest.mark.parametrize(
    ("acceleration", "number", "found"),
    [("auto", 0, CUDA), ("cuda", 0, CUDA), ("vulkan", 0, VULKAN), ("none", 0, None)],
)
def test_the_device_that_was_asked_for_is_taken(acceleration, number, found):
    """A number counts the devices of the kind that was named."""
    assert choose_device([CUDA, VULKAN], acceleration=acceleration, number=number) == found


def test_auto_without_a_gpu_is_the_cpu():
    """`auto` never fails for want of a device."""
    assert choose_device([], acceleration="auto", number=0) is None


@pytest.mark.parametrize(("acceleration", "number"), [("metal", 0), ("cuda", 1), ("auto", 2)])
def test_a_device_that_is_not_there_is_an_error_that_says_what_is(acceleration, number):
    """Somebody who names a device wants it, not a slow CPU."""
    with pytest.raises(DeviceError, match=r"CUDA0.*Vulkan0"):
        choose_device([CUDA, VULKAN], acceleration=acceleration, number=number)


@pytest.mark.parametrize(
    ("workers", "device", "platform", "mode"),
    [
        (1, None, "linux", Mode.FORKS),
        (3, None, "linux", Mode.FORKS),
        (1, CUDA, "linux", Mode.ALONE),
        (3, CUDA, "linux", Mode.COPIES),
        (3, None, "darwin", Mode.COPIES),
        (1, None, "darwin", Mode.ALONE),
    ],
)
def test_a_process_with_a_gpu_is_never_forked(workers, device, platform, mode):
    """As many workers as were asked for exist in each case; a copy never makes copies."""
    assert choose_mode(workers, device, platform=platform, is_copy=False) is mode
    assert choose_mode(1, device, platform=platform, is_copy=True) is Mode.ALONE


async def test_copies_that_cannot_load_end_the_start_with_their_reason(tmp_path):
    """Not after five deaths within ten seconds, which slow loads never reach."""
    arguments = worker_arguments(tmp_path / "s", workers=2)
    arguments[1] = str(tmp_path / "missing.bin")
    process = await modes("copies", *arguments, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        said = (await process.stderr.read()).decode()
        process.stdin.close()
        assert await process.wait() == 1
    assert "StartError" in said
    assert 1 <= said.count("error: ") <= 2
    assert "missing.bin" in said


async def test_probe_prints_what_the_build_can_use():
    """What `doctor` shows."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", WORKER_MODULE, "--probe", stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    found = json.loads(output)
    assert found["whisper_cpp"].startswith("1.8")
    assert found["physical_cores"] >= 1
    assert found["gpus"] == []


async def test_copies_share_a_socket_and_come_back(tmp_path):
    """With a GPU each worker is a process that loads for itself."""
    socket = tmp_path / "s"
    process = await modes("copies", *worker_arguments(socket, workers=2))
    async with asyncio.timeout(30):
        await serves(socket)
        parent = psutil.Process(process.pid)
        first = {child.pid for child in parent.children()}
        assert len(first) == 2
        os.kill(first.pop(), signal.SIGKILL)
        while len({child.pid for child in parent.children()} - first) < 1:
            await asyncio.sleep(0.01)
        await serves(socket)
        process.stdin.close()
        assert await process.wait() == 0


async def test_a_lone_worker_ends_with_its_stdin(tmp_path):
    """Without a keeper a thread watches stdin."""
    socket = tmp_path / "s"
    process = await modes("alone", *worker_arguments(socket))
    async with asyncio.timeout(30):
        await serves(socket)
        process.stdin.close()
        assert await process.wait() == 0


async def test_no_orphan_survives_a_killed_starter(tmp_path):
    """The router dies of SIGKILL: the kernel and the end of stdin do the rest."""
    socket = tmp_path / "s"
    command = [sys.executable, "-m", WORKER_MODULE, *worker_arguments(socket, workers=2)]
    process = await modes("starter", *command)
    async with asyncio.timeout(30):
        keeper = psutil.Process(int(await process.stdout.readline()))
        await serves(socket)
        while len(keeper.children()) < 2:
            # the second one may still be forked
            await asyncio.sleep(0.01)
        family = [keeper, *keeper.children()]
        process.kill()
        await process.wait()
        while any(member.is_running() and member.status() != "zombie" for member in family):
            await asyncio.sleep(0.01)
