"""What nvidia-smi says, and what it does not."""

import pytest

from support.nvidia_smi import Devices
from whisper_router.supervisor import gpu

MIB = 1 << 20


@pytest.fixture
def devices(tmp_path) -> Devices:
    made = Devices(tmp_path, memory_mib=[(81559, 450), (24576, 24000)])
    made.write()
    return made


async def test_every_device_is_told_with_its_memory(devices):
    """Names may hold commas."""
    first, second = await gpu.read_gpus(devices.program)
    assert (first.index, first.uuid, first.name) == (0, "GPU-0", "NVIDIA Test, 80GB")
    assert (first.total_bytes, first.used_bytes) == (81559 * MIB, 450 * MIB)
    assert second.index == 1


async def test_memory_of_processes_is_told_by_device(devices):
    """One process may use several; what a container hides counts as nothing."""
    devices.use_mib = [(10, 0, 512), (10, 1, 100), (10, 0, 8), (11, 1, "[N/A]")]
    devices.write()
    assert await gpu.read_use(devices.program) == {10: {"GPU-0": 520 * MIB, "GPU-1": 100 * MIB}}


async def test_without_the_program_there_are_no_gpus():
    """Most machines are like that: nothing is said about it."""
    assert await gpu.read_gpus("/no/such/nvidia-smi") == []
    assert await gpu.read_use("/no/such/nvidia-smi") == {}


async def test_a_driver_that_is_broken_is_no_gpu(devices, caplog):
    """It is said in the log."""
    devices.broken = True
    devices.write()
    assert await gpu.read_gpus(devices.program) == []


async def test_a_program_that_hangs_is_given_up(tmp_path, monkeypatch):
    """A lost device does that."""
    monkeypatch.setattr(gpu, "TIMEOUT_S", 0.2)
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    program.chmod(0o755)
    assert await gpu.read_gpus(str(program)) == []


@pytest.mark.parametrize("text", ["", "nonsense", "0, GPU-0, [N/A], [N/A], x", "\x00,,,,"])
async def test_nonsense_is_no_gpu(tmp_path, text):
    """Whatever it prints."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    assert await gpu.read_gpus(str(program)) == []
    assert await gpu.read_use(str(program)) == {}
