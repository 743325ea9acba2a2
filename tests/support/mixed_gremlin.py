"""What a gremlin does to a running router: signals to its processes, no disk, no model, no time.

What the router has not dealt with in time is in `Gremlin.broken`.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from support.bent_clock import BentClock
from support.chaos import keepers, media_workers, workers
from support.engine_processes import AT_WORK_S
from support.kept_router import KeptRouter
from support.mixed_clients import Clients
from support.mixed_watch import Watch
from support.processes import begun, gone
from support.server import ServerProcess
from support.small_disk import filled

APPEAR_S = 30.0
"""How long a process to be killed, or an effect on requests, may take to be there."""
SLACK_S = 4.0
"""What a frozen process may outlive twice its budget: work for it may come late, and then it has
the budget and a second; the machine is busy."""
FREEZE_S, STARTED_S = 1.0, 4.0
HOURS = (-24, -1, 1, 24, 24 * 400)
DEATHS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV)

Deed = Callable[[], Awaitable[None]]
Find = Callable[[ServerProcess], list[int]]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What there is to be broken, and how it is configured.

    `model` is the file of alias `spare`, `original` what it was copied from; `is_small_disk`
    tells whether the spool can be filled.
    """

    router: KeptRouter
    clients: Clients
    watch: Watch
    model: Path
    original: Path
    clock: BentClock
    is_small_disk: bool
    chunk_s: float
    decode_s: float


@dataclass
class Gremlin:
    """Does one deed after the other, in an order that the dice decide; `done` counts them.

    What it freezes is for the router to end: that is watched while it goes on.
    """

    stage: Stage
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _watches: list[asyncio.Task[None]] = field(default_factory=list)
    idle_descriptors: int = 0
    """Of a worker that serves nobody; each connection is one more."""

    def note_idle_workers(self) -> None:
        """Look at the workers while no request is there."""
        pids = workers(self.stage.router.server)
        self.idle_descriptors = max(map(_descriptors, pids), default=0)

    def deck(self) -> Sequence[tuple[str, Deed]]:
        """Return every deed once, shuffled; those that need what is not there are left out."""
        deeds: dict[str, Deed] = {
            "SIGSTOP of a worker at work": self._freeze_worker,
            "SIGSTOP of an engine, SIGKILL of its workers": self._freeze_leader,
            "SIGSTOP of a media worker": self._freeze_media,
            "SIGSTOP of the router, for a second": self._freeze_router,
            "SIGHUP of the router, nothing changed": self._reload,
            "SIGHUP of the router, an alias changed": self._reload_changed,
            "model file deleted and put back": self._lose_model,
        }
        for signum in DEATHS:
            for what, pids in VICTIMS.items():
                deeds[f"{signum.name} of {what}"] = self._killer(pids, signum)
        if self.stage.is_small_disk:
            deeds["spool disk full"] = self._fill_disk
        if self.stage.clock.exists:
            deeds["wall clock jumped"] = self._bend_time
        names = sorted(deeds)
        self.dice.shuffle(names)
        return [(name, deeds[name]) for name in names]

    async def do(self, name: str, deed: Deed) -> None:
        """Do it, and count it."""
        self.stage.router.note(name)
        await self._in_time(name, deed())
        self.done[name] += 1

    async def settled(self) -> None:
        """Return once all that was frozen is replaced, or should have been."""
        await asyncio.gather(*self._watches)
        self._watches.clear()

    async def _in_time(self, name: str, doing: Awaitable[None]) -> None:
        try:
            await doing
        except TimeoutError:
            self.broken.append(f"'{name}' had no effect, or was not dealt with")

    def freeze_somebody(self) -> None:
        """Stop any process but the router itself, for whoever ends the router next."""
        server = self.stage.router.server
        pids = [pid for find in VICTIMS.values() for pid in find(server) if _has_started(pid)]
        if pids:
            self._signal(self.dice.choice(pids), signal.SIGSTOP)
            self.done["SIGSTOP of anything before the router's end"] += 1

    def _killer(self, find: Find, signum: signal.Signals) -> Deed:
        async def kill() -> None:
            self._signal(await self._any(find), signum)

        return kill

    async def _any(self, find: Find) -> int:
        """Return one of the processes, waiting for one that is being replaced."""
        async with asyncio.timeout(APPEAR_S):
            while not (pids := find(self.stage.router.server)):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        return self.dice.choice(pids)

    async def _freeze_worker(self) -> None:
        stage = self.stage
        await stage.clients.stay()  # nobody times a chunk whose client is gone
        async with asyncio.timeout(APPEAR_S):
            pid = await self._frozen_at_work()
        self._watch("a worker at work", pid, stage.chunk_s, stage.clients.may_leave)

    async def _freeze_leader(self) -> None:
        async with asyncio.timeout(APPEAR_S):
            pid = await self.stage.watch.leader("demo")
        self._signal(pid, signal.SIGSTOP)
        for child in psutil.Process(pid).children():
            self._signal(child.pid, signal.SIGKILL)
        self._watch("an engine", pid, self.stage.chunk_s)

    async def _freeze_media(self) -> None:
        pid = await self._any(lambda server: list(filter(_has_started, media_workers(server))))
        self._signal(pid, signal.SIGSTOP)
        self._watch("a media worker", pid, self.stage.decode_s)

    async def _freeze_router(self) -> None:
        pid = self.stage.router.server.pid
        self._signal(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(FREEZE_S)
        finally:
            self._signal(pid, signal.SIGCONT)

    async def _reload(self) -> None:
        server = self.stage.router.server
        with server.arrived:
            before = sum(line.get("event") == "reloaded" for line in server.log)
        self.stage.watch.reloads += 1
        self._signal(server.pid, signal.SIGHUP)
        try:
            await asyncio.to_thread(server.wait_for_log, "reloaded", count=before + 1)
        finally:
            self.stage.watch.reloads += 1

    async def _reload_changed(self) -> None:
        router = self.stage.router
        shorter, longer = "idle_unload_s = 1.0", "idle_unload_s = 1.5"
        old, new = (shorter, longer) if shorter in router.config else (longer, shorter)
        router.write_config(router.config.replace(old, new))
        await self._reload()

    async def _lose_model(self) -> None:
        """Delete the file under the running engine, see a request refused, see the next one heard.

        A path that leads nowhere is `model_unavailable`; an engine that had begun to start fails.
        """
        stage = self.stage
        stage.model.unlink()
        for process in (await stage.watch.processes())["spare"]["processes"]:
            if process["pid"]:
                self._signal(process["pid"], signal.SIGKILL)
        async with asyncio.timeout(APPEAR_S):
            await self._grows(stage.clients.codes, "503 model_unavailable", "200 model_unavailable")
        draft = stage.model.with_suffix(".new")
        await asyncio.to_thread(draft.write_bytes, stage.original.read_bytes())
        draft.replace(stage.model)
        async with asyncio.timeout(APPEAR_S):
            await self._grows(stage.clients.right, "spare")

    async def _fill_disk(self) -> None:
        stage = self.stage
        codes, before = stage.clients.codes, stage.clients.codes["503 storage_full"]
        with filled(stage.router.spool) as fill_again:  # requests that end make room
            async with asyncio.timeout(APPEAR_S):
                while codes["503 storage_full"] == before:
                    fill_again()
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(APPEAR_S):
            await self._grows(stage.clients.right, "demo")

    async def _bend_time(self) -> None:
        self.stage.clock.jump(self.dice.choice(HOURS) * 3600)

    async def _frozen_at_work(self) -> int:
        """Return a worker that was stopped while it computed: the router knows what it does.

        (One that has accepted a chunk and not told so yet is not known, and spared with its process
        as long as other workers of that are busy.)
        """
        before_s: dict[int, float] = {}
        while True:
            for pid in workers(self.stage.router.server):
                if _descriptors(pid) <= self.idle_descriptors:
                    before_s.pop(pid, None)
                elif _used_s(pid) - before_s.setdefault(pid, _used_s(pid)) >= AT_WORK_S:
                    self._signal(pid, signal.SIGSTOP)
                    await _stopped(pid)
                    if _descriptors(pid) > self.idle_descriptors:
                        return pid
                    self._signal(pid, signal.SIGCONT)
            await asyncio.sleep(0.01)

    def _watch(
        self, what: str, pid: int, budget_s: float, then: Callable[[], None] = lambda: None
    ) -> None:
        """See to it that a frozen process is replaced, while other deeds are done."""

        async def replaced() -> None:
            try:
                async with asyncio.timeout(2 * budget_s + SLACK_S):
                    await gone(pid)
            finally:
                then()

        self._watches.append(begun(self._in_time(f"{what} frozen: its end", replaced())))

    async def _grows(self, counts: Counter[str], *keys: str) -> None:
        before = sum(counts[key] for key in keys)
        while sum(counts[key] for key in keys) == before:  # noqa: ASYNC110 - clients set no event
            await asyncio.sleep(0.01)

    def _signal(self, pid: int, signum: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


VICTIMS: Mapping[str, Find] = {
    "a worker": workers,
    "an engine": keepers,
    "a media worker": media_workers,
}


def _has_started(pid: int) -> bool:
    """Tell whether a process has had the time to load its libraries.

    One that is frozen before has asked for nothing yet: not to die with its parent, not for work.
    """
    try:
        process = psutil.Process(pid)
        return time.time() - process.create_time() > STARTED_S
    except psutil.NoSuchProcess:
        return False


async def _stopped(pid: int) -> None:
    deadline_s = time.monotonic() + SLACK_S
    while _state(pid) not in "TZX" and time.monotonic() < deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def _used_s(pid: int) -> float:
    try:
        return psutil.Process(pid).cpu_times().user
    except psutil.NoSuchProcess:
        return 0.0


def _descriptors(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0
