"""A router that is started again whenever it has ended, as a service manager would."""

import asyncio
import contextlib
import json
import math
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support.router_kills import GONE_S, stale_sockets
from support.server import ServerProcess, running_server
from whisper_router.supervisor.listeners import free_port

BUGS = frozenset(
    {
        "background_task_failed",
        "engine_cleanup_failed",
        "engine_plan_broken",
        "engine_start_broken",
        "engine_unkillable",
        "engines_killed",
        "not_json",
        "request_failed",
    }
)
"""Events that a router never logs unless something in it is wrong."""
POLL_S = 0.01


@dataclass(kw_only=True)
class Life:
    """One run of the router, from its start to what ended it."""

    server: ServerProcess
    began_s: float
    ended_s: float = math.inf
    """When the signal was sent that ended it."""
    ended_by: signal.Signals | None = None
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """How each request was concluded, by its id; more than one status is one answer too many."""
    heard_of: set[str] = field(default_factory=set)
    """Requests that the log mentions at all."""

    def read_log(self, copy: Path | None) -> list[str]:
        """Take note of what the log says of requests, once; return the bugs in it."""
        with self.server.arrived:
            lines = list(self.server.log)
            self.server.log.clear()
        if copy is not None:
            with copy.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(line)}\n" for line in lines)
        for line in lines:
            name = str(line.get("request_id", ""))
            self.heard_of.add(name)
            if line.get("event") == "request_done":
                self.statuses.setdefault(name, []).append(int(str(line["status"])))
        return [f"the log has {line}" for line in lines if _is_bug(line)]


class KeptRouter:
    """Starts, ends and starts again one router, always at the same address.

    All that it starts inherits `TMPDIR`, so whoever has this one and lives is its relative.
    """

    def __init__(
        self,
        directory: Path,
        *,
        config: str,
        env: Mapping[str, str],
        spool: Path,
        log: Path | None = None,
        gone_s: float = GONE_S,
    ) -> None:
        """`log` is a file that every router's log is appended to.

        What a router has started may outlive it for `gone_s`.
        """
        self.config, self.spool = config, spool
        self.is_up = asyncio.Event()
        self.lives: list[Life] = []
        self.broken: list[str] = []
        self.ends: Counter[str] = Counter()
        self._directory, self._log, self._gone_s = directory, log, gone_s
        self._env = {**env, "WHISPER_ROUTER__SERVER__PORT": str(free_port())}
        self._running = contextlib.ExitStack()

    @property
    def server(self) -> ServerProcess:
        """The present run."""
        return self.lives[-1].server

    @property
    def url(self) -> str:
        return self.server.url

    def write_config(self, text: str) -> None:
        """Change the configuration file, for the next reload or start."""
        self.config = text
        (self._directory / "router.toml").write_text(text, encoding="utf-8")

    async def start(self) -> None:
        """Return once it serves."""
        run = running_server(self._directory, config=self.config, env=self._env)
        server = await asyncio.to_thread(self._running.enter_context, run)
        self.lives.append(Life(server=server, began_s=time.monotonic()))
        self.is_up.set()

    async def end(self, signum: signal.Signals) -> None:
        """End it by a signal and wait until it is gone; nothing that it started may outlive it.

        After a SIGTERM it has no excuse for files or a wrong exit status either.
        """
        life = self.lives[-1]
        self.is_up.clear()
        life.ended_s, life.ended_by = time.monotonic(), signum
        status = await asyncio.to_thread(life.server.stop, signum)
        self.ends[signum.name] += 1
        await self._see_relatives_gone(signum)
        if signum == signal.SIGTERM:
            if status != 0:
                self.broken.append(f"after SIGTERM the router's exit status was {status}")
            self.broken += [f"left by a router that had time: {path}" for path in self.spooled()]
        await asyncio.to_thread(self._running.close)
        self.broken += life.read_log(self._log)

    def note(self, event: str) -> None:
        """Write a line of ours between those of the router's log."""
        line: dict[str, object] = {"event": "gremlin", "deed": event, "at_s": time.monotonic()}
        with self.server.arrived:
            self.server.log.append(line)

    async def close(self) -> None:
        """End it whatever state it is in; judge nothing."""
        await asyncio.to_thread(self._running.close)
        if self.lives:
            self.lives[-1].read_log(self._log)

    def spooled(self) -> list[Path]:
        """Return every upload and all decoded audio on disk."""
        with contextlib.suppress(FileNotFoundError):  # a file that goes while it is looked at
            return [path for path in self.spool.glob("run-*/*") if path.is_file()]
        return []

    def stale(self) -> list[Path]:
        """Return sockets and records that belong to no running engine, and spools of nobody."""
        pids = {str(process.pid) for process in self.server.descendants()}
        records = [p for p in self.spool.glob("engines/*.json") if p.stem not in pids]
        spools = [p for p in self.spool.glob("run-*") if f"run-{self.server.pid}-" not in p.name]
        return [*stale_sockets(self.server, self._directory), *records, *spools]

    def relatives(self) -> list[psutil.Process]:
        """Return all processes that the router, or one before it, has started and that live."""
        marker, found = str(self._directory), []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("TMPDIR") == marker and _lives(process):
                    found.append(process)
        return found

    async def _see_relatives_gone(self, signum: signal.Signals) -> None:
        deadline_s = time.monotonic() + self._gone_s
        looked_s = time.monotonic()  # a look at all processes takes its time
        while left := await asyncio.to_thread(self.relatives):
            if looked_s > deadline_s:
                self.broken.append(f"{self._gone_s:g} s after the router's {signum.name}: {left}")
                return
            await asyncio.sleep(POLL_S)
            looked_s = time.monotonic()


def _lives(process: psutil.Process) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE


def _is_bug(line: Mapping[str, object]) -> bool:
    return line.get("event") in BUGS or "exception" in line
