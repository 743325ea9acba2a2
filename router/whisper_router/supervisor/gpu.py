"""The GPUs of this machine, and what processes take of their memory, as `nvidia-smi` tells.

It takes a tenth of a second or more. Where there is no such program, or it says nothing that can
be read, there are no GPUs.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

PROGRAM: Final = "nvidia-smi"
TIMEOUT_S: Final = 10.0
"""A driver that starts up takes seconds; one that hangs takes for ever."""
MAX_SAID: Final = 300
MIB: Final = 1 << 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device. `index` is what CUDA calls it."""

    index: int
    uuid: str
    name: str
    total_bytes: int
    used_bytes: int


async def read_gpus(program: str = PROGRAM) -> Sequence[Gpu]:
    """Return all devices."""
    rows = await _query(program, "--query-gpu=index,uuid,memory.total,memory.used,name", columns=5)
    found: list[Gpu] = []
    for index, uuid, total, used, name in rows:
        if index.isdecimal() and total.isdecimal() and used.isdecimal():
            found.append(
                Gpu(
                    index=int(index),
                    uuid=uuid,
                    name=name,
                    total_bytes=int(total) * MIB,
                    used_bytes=int(used) * MIB,
                )
            )
    return found


async def read_use(program: str = PROGRAM) -> Mapping[int, Mapping[str, int]]:
    """Return how many bytes each process takes on which device, by pid and the device's uuid.

    In a container the pids are the host's, or none are told at all.
    """
    use: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    rows = await _query(program, "--query-compute-apps=pid,gpu_uuid,used_gpu_memory", columns=3)
    for pid, uuid, used in rows:
        if pid.isdecimal() and used.isdecimal():
            use[int(pid)][uuid] += int(used) * MIB
    return use


async def _query(program: str, query: str, *, columns: int) -> list[list[str]]:
    try:
        text = await _output(program, query, "--format=csv,noheader,nounits")
    except FileNotFoundError:
        return []
    except (OSError, TimeoutError, _FailedError) as error:
        log.warning("gpus_unknown", reason=str(error) or f"{program} did not answer")
        return []
    rows = (line.split(",", columns - 1) for line in text.splitlines())
    return [[field.strip() for field in row] for row in rows if len(row) == columns]


class _FailedError(Exception):
    """The program ended with an error."""


async def _output(*command: str) -> str:
    """Return what a program prints; whoever stops waiting for it leaves no process behind."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    text = output.decode(errors="replace")
    if process.returncode:
        raise _FailedError(text.strip()[:MAX_SAID])
    return text
