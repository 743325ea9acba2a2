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
from whisper_router_engines.whispercpp.worker import DeviceError, choose_device

MODES = Path(__file__).parents[2] / "support" / "whispercpp_modes.py"
CUDA = Device(index=0, name="CUDA0", description="a card", kind="cuda")
VULKAN = Device(index=1, name="Vulkan0", description="a card", kind="vulkan")


def worker_arguments(socket: Path, *, workers: int = 1) -> list[str]:
    options = WhisperCppOptions(workers=workers).model_dump_json()
    arguments = ["--model", str(DEMO_MODEL), "--socket", str(socket)]
    return [*arguments, "--workers", str(workers), "--options", options]


async def modes(mode: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(MODES),
        mode,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
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
        family = [keeper, *keeper.children()]
        assert len(family) == 3
        process.kill()
        await process.wait()
        while any(member.is_running() and member.status() != "zombie" for member in family):
            await asyncio.sleep(0.01)
