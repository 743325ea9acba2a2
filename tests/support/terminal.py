"""Programs at a pseudo-terminal, as a user runs them."""

import asyncio
import os
import pty
import re
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

LIMIT_S = 90.0
SIZE = (30, 120)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
SHOW_CURSOR = "\x1b[?25h"


class Terminal:
    """A program, and all that it has written to its terminal so far."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process, self._master = process, master
        self.raw = ""

    @property
    def text(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return CONTROL.sub("", self.raw).replace("\r\n", "\n")

    async def until(self, pattern: str) -> re.Match[str]:
        """Return the first match in what is written, once there is one."""
        while (found := re.search(pattern, self.text)) is None:
            assert await self._read(), f"no {pattern!r} in {self.text!r}"
        return found

    async def end(self) -> int:
        """Read all that comes and return the exit code."""
        while await self._read():
            pass
        return await self.process.wait()

    async def _read(self) -> bool:
        try:
            piece = await asyncio.to_thread(os.read, self._master, 1 << 16)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        self.raw += piece.decode("utf-8", errors="replace")
        return bool(piece)


@asynccontextmanager
async def at_terminal(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, **streams: Any
) -> AsyncIterator[Terminal]:
    """Run a program at a terminal of its own; `streams` (`stdout=…`) may go elsewhere."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, SIZE)
    everything = {"stdin": slave, "stdout": slave, "stderr": slave}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={"TERM": "xterm", **env},
            cwd=cwd,
            start_new_session=True,
            **everything | streams,
        )
    finally:
        os.close(slave)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield Terminal(process, master)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(master)
