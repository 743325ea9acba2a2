"""Says why a worker's answer ended early. Runs in the router."""

import asyncio
import time
from pathlib import Path
from typing import Final

from whisper_router.engine_api import Endpoint, was_ended_by_others
from whisper_router.errors import EngineCrashed, EngineInterrupted
from whisper_router_engines.whispercpp.ends import describe_end, find_end

WAIT_S: Final = 5.0
"""How long the keeper may take to notice: a connection breaks milliseconds before its worker can be
reaped, and more when the machine is busy."""
FIRST_PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.1


async def explain_loss(worker: int | None, endpoint: Endpoint, *, since_s: float) -> EngineCrashed:
    """Return the error for an answer that ended early, once its keeper knows why.

    `worker` is None when none had begun; its end was no earlier than at `since_s` (monotonic).
    Where nobody tells how it ended it has crashed, and the router looks whether the whole process
    was ended.
    """
    if worker is None:
        return EngineInterrupted("The engine broke off before any worker had begun.")
    code = None if endpoint.socket is None else await _end(worker, endpoint.socket, since_s)
    if code is None:
        return EngineCrashed("The engine ended its answer early.")
    if was_ended_by_others(code):
        return EngineInterrupted(f"The worker was ended from outside ({describe_end(code)}).")
    return EngineCrashed(f"The worker crashed ({describe_end(code)}).")


async def _end(worker: int, socket: Path, since_s: float) -> int | None:
    """Wait for the worker's exit code; None when there is no keeper, or it does not tell."""
    deadline_s, pause_s = time.monotonic() + WAIT_S, FIRST_PAUSE_S
    while time.monotonic() < deadline_s:
        try:
            code = await asyncio.to_thread(find_end, worker, socket, since_s=since_s)
        except OSError:
            return None
        if code is not None:
            return code
        await asyncio.sleep(pause_s)
        pause_s = min(1.5 * pause_s, LONGEST_PAUSE_S)
    return None
