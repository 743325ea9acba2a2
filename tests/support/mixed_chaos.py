"""A router under a gremlin's hands, round after round; every request is accounted for."""

import asyncio
import contextlib
import math
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.bent_clock import BentClock
from support.chaos import Case, answers
from support.client import session
from support.kept_router import KeptRouter, Life
from support.mixed_clients import Clients, Kind, Outcome, Way
from support.mixed_gremlin import Gremlin, Stage
from support.mixed_watch import Rest, Watch
from support.router_kills import GONE_S
from support.small_disk import small_disk
from support.speech import DEMO_MODEL, joined, sample

WORKERS, MEDIA_WORKERS, CLIENTS = 2, 2, 5
CHUNK_S, DECODE_S = 6.0, 6.0
PAUSE_S = 0.3
SPOOL_MIB = 24
ALIASES = ("demo", "demo", "demo", "spare")
CLIPS = ("en_call_sign", "en_hello_gb", "en_digits_fast", "de_digits", "en_three_segments")
CONFIG = f"""
default_model = "demo"
[server]
shutdown_grace_s = 60
[audio]
spool_dir = "SPOOL"
media_workers = {MEDIA_WORKERS}
decode_timeout_s = {DECODE_S}
decode_timeout_s_per_mib = 0
[supervision]
chunk_timeout_s = {CHUNK_S}
chunk_timeout_factor = 0
stop_grace_s = 1.0
longest_pause_s = 1.0
[models.demo]
model = "demo"
workers = {WORKERS}
preload = true
idle_unload_s = 0
[models.spare]
path = "MODEL"
workers = 1
idle_unload_s = 1.0
"""
CAUSES = {
    "audio_rejected": ("SIGSEGV", "SIGSTOP", "media worker"),
    "engine_timeout": ("SIGSTOP",),
    "engine_start_failed": ("model file", "of an engine", "disk full"),
    "engine_crashed": ("of an engine", "of a worker"),
    "media_worker_failed": ("media worker",),
    "model_unavailable": ("model file",),
    "shutting_down": ("SIGTERM of the router",),
    "storage_full": ("disk full",),
}
"""Errors that a request may be answered with, and what must have been done for that."""
FINE = (Kind.RIGHT, Kind.ERROR, Kind.LEFT)
WANTED = {"workers_wanted": WORKERS, "media_wanted": MEDIA_WORKERS}
CALM = sample("en_nato_female").path
WORK_S = 30.0


@dataclass(kw_only=True)
class Report:
    """What was done, what came of it, and every rule that was broken."""

    seed: int
    took_s: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    deeds: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    starts: int = 0
    quiet_moments: int = 0
    looks: int = 0
    most_pss_mib: int = 0
    broken: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the table, line by line."""
        yield f"seed {self.seed}, {self.took_s:.0f} s"
        for title, counts in (
            ("requests", self.ways),
            ("their ends", self.requests),
            ("errors", self.errors),
            ("deeds", self.deeds),
        ):
            yield f"{title:52} {sum(counts.values()):6}"
            for name, count in sorted(counts.items()):
                yield f"  {name:50} {count:6}"
        yield f"{'starts of the router':52} {self.starts:6}"
        yield f"{'quiet moments with nothing left over':52} {self.quiet_moments:6}"
        yield f"{'states looked at':52} {self.looks:6}"
        yield f"{'most memory of a quiet router (PSS), MiB':52} {self.most_pss_mib:6}"
        yield from (f"LEFT OUT {line}" for line in self.left_out)
        yield from (f"BROKEN {line}" for line in self.broken)


async def mixed_chaos(
    directory: Path,
    *,
    seed: int,
    seconds: float,
    clients: int,
    log: Path | None = None,
    gone_s: float = GONE_S,
) -> Report:
    """Go on for so long, one round at least; each round does every deed once.

    `directory` is empty; where its name is short, so are those of the engines' sockets. What a
    router has started may outlive it for `gone_s`.
    """
    began_s = time.monotonic()
    with small_disk(directory / "spool", size_mib=SPOOL_MIB) as is_small_disk:
        async with _chaos(directory, seed, log, gone_s, is_small_disk=is_small_disk) as chaos:
            chaos.clients.begin(clients, ALIASES, [path for path in chaos.texts if path != CALM])
            is_over = False
            while not is_over:
                await chaos.round()
                is_over = time.monotonic() - began_s >= seconds
            await chaos.clients.end()
            await chaos.end_router(signal.SIGTERM)
    report = chaos.report()
    report.took_s = time.monotonic() - began_s
    return report


@contextlib.asynccontextmanager
async def _chaos(
    directory: Path, seed: int, log: Path | None, gone_s: float, *, is_small_disk: bool
) -> AsyncIterator["_Chaos"]:
    dice, model, spool = random.Random(seed), directory / "spare.bin", directory / "spool"
    shutil.copyfile(DEMO_MODEL, model)
    clock = BentClock(directory)
    router = KeptRouter(
        directory,
        config=CONFIG.replace("SPOOL", str(spool)).replace("MODEL", str(model)),
        env=clock.env,
        spool=spool,
        log=log,
        gone_s=gone_s,
    )
    texts = {clip.path: clip.text for clip in map(sample, CLIPS)}
    async with session() as http:
        watch, clients = Watch(router, http), Clients(router, texts, dice=dice)
        stage = Stage(
            router=router,
            clients=clients,
            watch=watch,
            model=model,
            original=DEMO_MODEL,
            clock=clock,
            is_small_disk=is_small_disk,
            chunk_s=CHUNK_S,
            decode_s=DECODE_S,
        )
        chaos = _Chaos(seed, stage, texts, dice)
        try:
            await router.start()
            await chaos.learn(CALM, _long(directory))
            await chaos.begin()
            async with watch.watching():
                yield chaos
        finally:
            await clients.end()
            await router.close()


class _Chaos:
    """The router, its clients and the gremlin, and what is known of them so far."""

    def __init__(
        self, seed: int, stage: Stage, texts: dict[Path, str], dice: random.Random
    ) -> None:
        self.texts = texts
        self.clients = stage.clients
        self._router, self._watch, self._stage = stage.router, stage.watch, stage
        self._dice, self._gremlin = dice, Gremlin(stage, dice)
        self._report = Report(seed=seed)
        self._first: Rest | None = None

    async def begin(self) -> None:
        """See what a fresh router has when it is quiet."""
        await self._be_heard()
        self._first = await self._watch.rest(**WANTED)
        self._gremlin.note_idle_workers()

    async def learn(self, *paths: Path) -> None:
        """Note what is heard in recordings when nothing goes wrong."""
        cases = [Case(path=path) for path in paths]
        for answer in await answers(self._router.server, cases, at_once=1):
            assert answer.problem is None, answer
            self.texts[answer.case.path] = answer.text

    async def round(self) -> None:
        """Do every deed; then be quiet; then, as the dice decide, end the router and begin anew."""
        for name, deed in self._gremlin.deck():
            await self._gremlin.do(name, deed)
            await asyncio.sleep(self._dice.uniform(0, PAUSE_S))
        await self._gremlin.settled()
        await self._be_quiet()
        both = [signal.SIGKILL, signal.SIGTERM]
        is_first = not self._router.ends
        for signum in both if is_first else self._dice.choice([both[:1], both[1:], []]):
            await self._wait_for_work()
            if self._dice.random() < 0.5:
                self._gremlin.freeze_somebody()
            await asyncio.sleep(self._dice.uniform(0, PAUSE_S))
            await self.end_router(signum)
            await self._router.start()
            await self.begin()
            self.clients.go_on()

    async def end_router(self, signum: signal.Signals) -> None:
        """End it, and account for every request that it had."""
        life = self._router.lives[-1]
        await self._router.end(signum)
        await self.clients.pause()
        for outcome in self.clients.outcomes:
            self._judge(outcome, life)
        self.clients.outcomes.clear()

    def report(self) -> Report:
        """Return what was found so far."""
        report, gremlin = self._report, self._gremlin
        report.ways, report.errors, report.deeds = (
            self.clients.sent,
            self.clients.codes,
            +gremlin.done,
        )
        report.deeds += Counter({f"{k} of the router": n for k, n in self._router.ends.items()})
        report.starts, report.looks = len(self._router.lives), self._watch.looks
        report.broken += [*self._router.broken, *self._watch.broken, *gremlin.broken]
        report.broken += [
            f"{count} × {error}, and nothing was done that explains it"
            for error, count in report.errors.items()
            if not _is_explained(error, report.deeds)
        ]
        if not self._stage.is_small_disk:
            report.left_out.append("full spool disk: this user may not mount a tmpfs")
        if not self._stage.clock.exists:
            report.left_out.append("clock jumps: there is no C compiler")
        return report

    async def _be_heard(self) -> None:
        """Have every alias answer, in peace and with audio that nobody else sends."""
        for alias in sorted(set(ALIASES)):
            outcome = await self.clients.ask(alias, CALM, Way.WHOLE)
            if outcome.kind is not Kind.RIGHT:
                self._report.broken.append(f"in a quiet moment: {outcome}")

    async def _be_quiet(self) -> None:
        assert self._first is not None
        await self.clients.pause()
        await self._be_heard()
        rest = await self._watch.settled(self._first, **WANTED)
        self._report.most_pss_mib = max(self._report.most_pss_mib, rest.pss_bytes >> 20)
        self._report.quiet_moments += 1
        self.clients.go_on()

    async def _wait_for_work(self) -> None:
        async with asyncio.timeout(WORK_S):
            while self.clients.open < 2:  # noqa: ASYNC110 - other tasks set no event
                await asyncio.sleep(0.01)

    def _judge(self, outcome: Outcome, life: Life) -> None:
        """Count a request; whoever ended the router may be to blame that it was cut off."""
        is_excused = outcome.is_excused(life, math.inf)
        name = outcome.kind.value
        if is_excused and life.ended_by is not None:
            name += f" at the router's {life.ended_by.name}"
        self._report.requests[name] += 1
        if not is_excused and outcome.kind not in FINE:
            self._report.broken.append(f"{outcome}")
        statuses = life.statuses.get(outcome.name, [])
        if len(statuses) > 1 or not _agree(outcome, statuses, life):
            self._report.broken.append(f"the log concludes with {statuses}: {outcome}")


def _agree(outcome: Outcome, statuses: list[int], life: Life) -> bool:
    """Tell whether client and log saw the same end; a killed router may have had no time to log."""
    if outcome.kind not in (Kind.RIGHT, Kind.ERROR):
        return True
    seen = 200 if outcome.kind is Kind.RIGHT else int(outcome.detail.split()[0])
    return statuses == [seen] or (not statuses and life.ended_by is signal.SIGKILL)


def _is_explained(error: str, deeds: Counter[str]) -> bool:
    causes = CAUSES.get(error.rpartition(" ")[2], ())
    return any(cause in deed for deed in deeds for cause in causes)


def _long(directory: Path) -> Path:
    """Write a recording of several chunks."""
    clips = [sample(name).path for name in CLIPS]
    return joined(directory / "long.wav", *clips, *clips, silence_s=1.5)
