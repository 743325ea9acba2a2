"""Ends one worker of a process and spares the others."""

import asyncio
import os
import signal
import time
from typing import Final

from whisper_router.supervisor import proctable

POLL_S: Final = 0.02


async def end_worker(worker: proctable.Row, *, grace_s: float) -> None:
    """Send SIGTERM, wait, SIGKILL. Returns when it is gone (its parent may have a new one)."""
    await asyncio.to_thread(_signal, worker, signal.SIGTERM)
    if not await _is_gone(worker, within_s=grace_s):
        await asyncio.to_thread(_signal, worker, signal.SIGKILL)
        await _is_gone(worker, within_s=grace_s)


async def _is_gone(worker: proctable.Row, *, within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while await asyncio.to_thread(_lives, worker):
        if time.monotonic() >= deadline_s:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _lives(worker: proctable.Row) -> bool:
    row = proctable.read_row(worker.pid)
    return row is not None and row.started == worker.started


def _signal(worker: proctable.Row, signum: signal.Signals) -> None:
    """Signal the worker unless somebody else has its pid by now."""
    try:
        if _lives(worker):
            os.kill(worker.pid, signum)
    except (ProcessLookupError, PermissionError):
        pass
