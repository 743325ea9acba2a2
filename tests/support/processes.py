"""Looks at real processes from tests."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def begun(coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task that the test awaits, or cancels, itself."""
    return asyncio.get_running_loop().create_task(coro)


def is_alive(pid: int) -> bool:
    """Tell whether a process has this id and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def gone(pid: int) -> None:
    """Return when there is no such process any more; the caller sets the time limit."""
    while is_alive(pid):  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(0.005)


async def written(path: Path) -> str:
    """Return the text of a file that another process is about to write."""
    while not path.exists():  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(0.005)
    return path.read_text()


def children() -> set[int]:
    """Return the ids of this process's children, zombies too."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return {pid for pid in pids if _parent(pid) == os.getpid()}


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
