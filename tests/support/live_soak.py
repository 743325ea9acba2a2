"""Live sessions of every kind for a long time: nothing may be lost, kept or grow."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from support.engine_processes import engine_processes
from support.kept_router import BUGS
from support.leaving import SPOOLED
from support.live_clients import KINDS, Held, Kind, Stage, speeches
from support.server import ServerProcess, running_server
from support.usage import memory_bytes

QUIET_S = 15.0
"""How long it may take after the last session until nothing of any is left."""
POLL_S = 0.05
STEADY_ROUND = 3
"""From here on memory may not grow: before, caches and pools fill."""
LEAST_S = 0.001
"""Clients that send another rate have a sample more or less."""
MORE_BYTES = 8 << 20
WARMING_BYTES = 32 << 20
"""What the router may grow by in its first rounds, in which it does much for the first time."""
MORE_DESCRIPTORS, MORE_THREADS = 4, 6
CONFIG = """
default_model = "demo"
[models.demo]
model = "demo"
workers = 2
live_audio_ctx = "fitted"
[live]
write_timeout_s = 2
"""


HEADER = (
    f"{'round':>5} {'sessions':>8} {'router MiB':>10} {'engine MiB':>10} {'files':>5} "
    f"{'threads':>8}  how they ended"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What was there when nobody spoke."""

    router_bytes: int
    engine_bytes: int
    descriptors: int
    threads: int
    deeds: Counter[str]

    def line(self, number: int) -> str:
        deeds = ", ".join(f"{count} {deed}" for deed, count in sorted(self.deeds.items()))
        return (
            f"{number:5} {sum(self.deeds.values()):8} {self.router_bytes / 2**20:10.1f} "
            f"{self.engine_bytes / 2**20:10.1f} {self.descriptors:5} {self.threads:8}  {deeds}"
        )


@dataclass
class Soaked:
    """What was done, what was seen, and every rule that was broken."""

    rests: list[Rest] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    sessions: int = 0
    finished: int = 0
    sent_s: float = 0.0
    heard_s: float = 0.0

    def lines(self) -> Iterator[str]:
        """Yield a report."""
        yield HEADER
        yield from (rest.line(number) for number, rest in enumerate(self.rests, start=1))
        yield from self.summary()

    def summary(self) -> Iterator[str]:
        """Yield what all rounds came to."""
        yield (
            f"{self.sessions} sessions, {self.finished} of them finished: "
            f"{self.sent_s:.3f} s of audio sent, {self.heard_s:.3f} s heard; "
            f"broken: {len(self.broken)}"
        )
        yield from self.broken


async def soak(
    folder: Path,
    *,
    seed: int,
    rounds: int,
    round_s: float,
    sessions: int,
    kinds: Sequence[Kind] = KINDS,
    show: Callable[[str], None] = lambda _line: None,
) -> Soaked:
    """Let so many clients hold sessions, round after round with a quiet moment after each.

    `show` gets a line for each round as it ends.
    """
    show(HEADER)
    found, said = Soaked(), await asyncio.to_thread(speeches, folder, seed=seed)
    dice = [random.Random(f"{seed} {number}") for number in range(sessions)]
    with running_server(folder, config=CONFIG) as server:
        async with aiohttp.ClientSession() as http:
            stage = Stage(http=http, url=server.url, speeches=said)
            for _ in range(rounds):
                until_s = time.monotonic() + round_s
                held = await asyncio.gather(*(_client(stage, own, kinds, until_s) for own in dice))
                all_held = [one for some in held for one in some]
                await _judge(server, all_held, found)
                await _quiet(server, http, found)
                found.rests.append(await asyncio.to_thread(_rest, server, all_held))
                show(found.rests[-1].line(len(found.rests)))
        found.broken += _grown(found.rests)
        found.broken += [f"{line}" for line in server.log if line.get("event") in BUGS]
        if (code := await asyncio.to_thread(server.stop)) != 0:
            found.broken.append(f"the server ended with {code}")
    return found


async def _client(
    stage: Stage, dice: random.Random, kinds: Sequence[Kind], until_s: float
) -> list[Held]:
    """Hold one session after the other until the time is over."""
    held = []
    while time.monotonic() < until_s:
        held.append(await dice.choice(kinds)(stage, dice))
    return held


async def _judge(server: ServerProcess, held: Sequence[Held], found: Soaked) -> None:
    """Compare what clients sent and got with what the server says that it has heard."""
    found.sessions += len(held)
    await asyncio.to_thread(server.wait_for_log, ENDED, count=found.sessions)
    heard_s = {line["request_id"]: line["audio_s"] for line in _logged(server, ENDED)}
    for one in held:
        if one.problem is not None:
            found.broken.append(f"{one.deed}: {one.problem}")
        if one.request_id not in heard_s:
            found.broken.append(f"{one.deed}: session {one.request_id} has no end in the log")
        elif one.heard_s is not None:
            found.finished += 1
            found.sent_s += one.heard_s
            found.heard_s += heard_s[one.request_id]
            if abs(heard_s[one.request_id] - one.heard_s) > LEAST_S:
                found.broken.append(f"{heard_s[one.request_id]} s were heard of {one.heard_s}")
    if len(heard_s) != found.sessions:
        found.broken.append(f"{len(heard_s)} sessions have ended, of {found.sessions}")


async def _quiet(server: ServerProcess, http: aiohttp.ClientSession, found: Soaked) -> None:
    """Return once nothing of any session is left; what stays is noted."""
    deadline_s = time.monotonic() + QUIET_S
    while left := await _left(server, http):
        if time.monotonic() > deadline_s:
            found.broken += [f"{QUIET_S:g} s after the last session: {line}" for line in left]
            return
        await asyncio.sleep(POLL_S)


async def _left(server: ServerProcess, http: aiohttp.ClientSession) -> list[str]:
    async with http.get(f"{server.url}/v1/queue") as response:
        queues = (await response.json()).items()
    async with http.get(f"{server.url}/v1/processes") as response:
        pools = (await response.json())["data"]
    left = [f"queue of {name}: {one}" for name, one in queues if one["running"] or one["waiting"]]
    left += [f"leases: {pool}" for pool in pools if pool["leases"] or pool["waiting"]]
    began, ended = len(_logged(server, BEGAN)), len(_logged(server, ENDED))
    if began != ended:
        left.append(f"{began} sessions have begun, {ended} ended")
    return left + await asyncio.to_thread(_spooled, server)


BEGAN, ENDED = "live_session_began", "live_session_ended"


def _logged(server: ServerProcess, event: str) -> list[dict]:
    return [line for line in server.log if line.get("event") == event]


def _spooled(server: ServerProcess) -> list[str]:
    folder = Path(psutil.Process(server.pid).environ()["TMPDIR"])
    return [f"in the spool {path}" for path in folder.rglob("*") if SPOOLED.fullmatch(path.name)]


def _rest(server: ServerProcess, held: Sequence[Held]) -> Rest:
    router = psutil.Process(server.pid)
    return Rest(
        router_bytes=memory_bytes([router]),
        engine_bytes=memory_bytes(engine_processes(server)),
        descriptors=router.num_fds(),
        threads=router.num_threads(),
        deeds=Counter(one.deed for one in held),
    )


def _grown(rests: Sequence[Rest]) -> Iterator[str]:
    """Tell what has grown from the first steady round, or that before the last, to the last."""
    steady, last = rests[max(0, min(STEADY_ROUND, len(rests) - 1) - 1)], rests[-1]
    margin_bytes = MORE_BYTES if len(rests) > STEADY_ROUND else WARMING_BYTES
    for name, before, now, margin in (
        ("memory of the router", steady.router_bytes, last.router_bytes, margin_bytes),
        ("descriptors", steady.descriptors, last.descriptors, MORE_DESCRIPTORS),
        ("threads", steady.threads, last.threads, MORE_THREADS),
    ):
        if now > before + margin:
            yield f"the {name} of the quiet router went from {before} to {now}"
