"""Watches a router from outside: the states it reports, and what it holds when nobody asks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil

from support.chaos import media_workers, workers
from support.kept_router import KeptRouter
from support.processes import begun
from support.usage import memory_bytes
from whisper_router.supervisor.breaker import BreakerState
from whisper_router.supervisor.machine import TRANSITIONS, Event, State

POLL_S = 0.1
QUIET_S = 30.0
"""How long it may take until everything is put away and every worker is back."""
MORE_DESCRIPTORS, MORE_THREADS = 4, 6
"""A quiet router may have so many more than at its beginning: connections that are kept for the
next caller, and threads for files, of which the event loop keeps up to its limit of cores + 4."""
MORE_BYTES = 32 << 20
STATES = {state.value for state in State}
MODEL_STATES = {*STATES, "absent", "downloading"}
BREAKERS = {state.value for state in BreakerState}
STARTS = (Event.START, Event.RETRY)

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What a router has while it does nothing."""

    descriptors: int
    threads: int
    pss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Look:
    """One process as it was reported."""

    state: State
    starts: int


def is_legal(before: Look, after: Look) -> bool:
    """Tell whether the table of transitions leads from one to the other.

    Every start is counted, so where the count is the same the way there is one without a start.
    """
    reached = {(before.state, before.starts)}
    while True:
        further = {
            (state, starts + (event in STARTS))
            for old, starts in reached
            for (source, event), state in TRANSITIONS.items()
            if source is old and starts + (event in STARTS) <= after.starts
        }
        if further <= reached:
            return (after.state, after.starts) in reached
        reached |= further


class Watch:
    """Asks `/v1/processes` and `/v1/models` all the time; what is wrong is in `broken`."""

    def __init__(self, router: KeptRouter, http: aiohttp.ClientSession) -> None:
        self.broken: list[str] = []
        self.looks = 0
        self.reloads = 0
        """Counted up before a reload and after it: it gives aliases new processes."""
        self._router, self._http = router, http
        self._seen: dict[tuple[int, int, str, int], Look] = {}

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look on until the block ends."""
        task = begun(self._look_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def get(self, path: str) -> Any:
        """Return what the router answers; it must be up."""
        async with self._http.get(self._router.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def processes(self) -> Mapping[str, Json]:
        """Return what is known of each alias."""
        listed = (await self.get("/v1/processes"))["data"]
        return {entry["id"]: entry for entry in listed}

    async def leader(self, alias: str) -> int:
        """Return the engine process of an alias once there is one; the caller sets the limit."""
        while True:
            for process in (await self.processes())[alias]["processes"]:
                if process["state"] == "ready" and process["pid"]:
                    return int(process["pid"])
            await asyncio.sleep(POLL_S)

    async def rest(self, *, workers_wanted: int, media_wanted: int) -> Rest:
        """Return what the router has once it has nothing to do; what stays is in `broken`."""
        deadline_s = time.monotonic() + QUIET_S
        while left := await self._left(workers_wanted, media_wanted):
            if time.monotonic() > deadline_s:
                self.broken += [f"{QUIET_S:g} s after the last request: {line}" for line in left]
                break
            await asyncio.sleep(POLL_S)
        return await asyncio.to_thread(self._measured)

    async def settled(self, first: Rest, **wanted: int) -> Rest:
        """Return what it has once that is no more than at `first`, but for the margins."""
        deadline_s = time.monotonic() + QUIET_S
        while grown := _grown(first, now := await self.rest(**wanted)):
            if time.monotonic() > deadline_s:
                self.broken.append(f"the quiet router has grown: {grown}")
                break
            await asyncio.sleep(POLL_S)
        return now

    async def _left(self, workers_wanted: int, media_wanted: int) -> list[str]:
        """Return everything that a router without requests should not have, or should."""
        found = []
        queue = await self.get("/v1/queue")
        if any(alias["running"] or alias["waiting"] for alias in queue.values()):
            found.append(f"queue {queue}")
        for name, pool in (await self.processes()).items():
            if pool["leases"] or pool["waiting"] or any(p["leases"] for p in pool["processes"]):
                found.append(f"leases of {name}: {pool}")
        return found + await asyncio.to_thread(self._left_here, workers_wanted, media_wanted)

    def _left_here(self, workers_wanted: int, media_wanted: int) -> list[str]:
        server = self._router.server
        found = [f"in the spool {path}" for path in self._router.spooled()]
        found += [f"stale {path}" for path in self._router.stale()]
        if len(here := workers(server)) != workers_wanted:
            found.append(f"workers {here}, not {workers_wanted}")
        if len(here := media_workers(server)) != media_wanted:
            found.append(f"media workers {here}, not {media_wanted}")
        return found

    def _measured(self) -> Rest:
        process = psutil.Process(self._router.server.pid)
        return Rest(
            descriptors=process.num_fds(),
            threads=process.num_threads(),
            pss_bytes=memory_bytes([process]),
        )

    async def _look_on(self) -> None:
        while True:
            await self._router.is_up.wait()
            try:
                await self._look()
            except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
                if self._router.is_up.is_set():
                    self.broken.append(f"the router did not tell its state: {error!r}")
            await asyncio.sleep(POLL_S)

    async def _look(self) -> None:
        reloads, life = self.reloads, len(self._router.lives)
        for name, pool in (await self.processes()).items():
            self._check_names(name, pool, STATES)
            for number, process in enumerate(pool["processes"]):
                self._check_names(name, process, STATES)
                look = Look(state=State(process["state"]), starts=process["starts"])
                if reloads == self.reloads and reloads % 2 == 0:  # else: whose process is it?
                    self._check_step((life, reloads, name, number), look)
        for model in (await self.get("/v1/models"))["data"]:
            if "state" in model:
                self._check_names(model["id"], model, MODEL_STATES)
        self.looks += 1

    def _check_names(self, name: str, shown: Json, states: set[str]) -> None:
        if shown["state"] not in states or shown.get("breaker", "closed") not in BREAKERS:
            self.broken.append(f"{name} has a state that is none: {shown}")

    def _check_step(self, key: tuple[int, int, str, int], look: Look) -> None:
        before = self._seen.get(key)
        self._seen[key] = look
        if before is not None and not is_legal(before, look):
            self.broken.append(f"{key} went from {before} to {look}")


def _grown(first: Rest, now: Rest) -> str:
    found = []
    if now.descriptors > first.descriptors + MORE_DESCRIPTORS:
        found.append(f"descriptors {first.descriptors} -> {now.descriptors}")
    if now.threads > first.threads + MORE_THREADS:
        found.append(f"threads {first.threads} -> {now.threads}")
    if now.pss_bytes > first.pss_bytes + MORE_BYTES:
        found.append(f"PSS {first.pss_bytes >> 20} -> {now.pss_bytes >> 20} MiB")
    return ", ".join(found)
