"""Accounts and their file."""

import asyncio
import sqlite3
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from whisper_router.api.keys import NO_LIMITS, KeyLimits
from whisper_router.api.limits.account import KEPT_DAYS, Clocks
from whisper_router.api.limits.keeper import UsageKeeper, open_usage
from whisper_router.api.limits.store import UsageFile
from whisper_router.errors import ConfigurationError, LimitReached

LIMITS = KeyLimits(requests_per_minute=5, audio_minutes_per_day=1)


async def test_figures_and_the_minute_outlive_the_process(tmp_path: Path):
    """Also what was counted a moment before the end."""
    path = tmp_path / "usage.sqlite"
    async with open_usage(path) as usage:
        account = usage.account("laptop")
        for _ in range(3):
            account.admit(LIMITS)
            account.end()
            usage.changed(account, began=True)
        account.charge(20.0, LIMITS)
        usage.changed(account)
        since_s = account.since_s
    async with open_usage(path) as usage:
        account = usage.account("laptop")
        assert (account.total.requests, account.since_s) == (3, since_s)
        assert account.audio_left_s(LIMITS) == pytest.approx(40.0)
        for _ in range(2):
            account.admit(LIMITS)
        with pytest.raises(LimitReached, match="5 requests in a minute"):
            account.admit(LIMITS)


async def test_a_file_that_is_taken_away_is_made_anew(tmp_path: Path, logs):
    """With all that was counted, also by who does nothing more: else a restart forgets it."""
    path = tmp_path / "usage.sqlite"
    async with open_usage(path) as usage:
        for name in ("laptop", "phone"):
            usage.account(name).charge(20.0, LIMITS)
            usage.changed(usage.account(name))
        usage.note_charged("one")
        await usage.written()
        for file in await asyncio.to_thread(lambda: list(tmp_path.iterdir())):
            await asyncio.to_thread(file.unlink)
        usage.account("phone").charge(5.0, LIMITS)
        usage.changed(usage.account("phone"))
        await usage.written()
        assert [line["event"] for line in logs] == ["usage_file_made_anew"]
    async with open_usage(path) as usage:
        assert usage.account("laptop").audio_left_s(LIMITS) == pytest.approx(40.0)
        assert usage.account("phone").audio_left_s(LIMITS) == pytest.approx(35.0)
        assert usage.is_charged("one")
        assert not usage.is_charged("")


async def test_a_file_that_cannot_be_made_anew_is_tried_again(tmp_path: Path, logs):
    """It is told of once, and once when it works again."""
    folder, away = tmp_path / "state", tmp_path / "away"
    async with open_usage(folder / "usage.sqlite") as usage:
        account = usage.account("laptop")
        await asyncio.to_thread(folder.rename, away)
        await asyncio.to_thread(folder.touch)  # a file in the place of the folder
        for _ in range(3):
            account.charge(5.0, LIMITS)
            usage.changed(account, began=True)
            await usage.written()
        assert [line["event"] for line in logs] == ["usage_not_written"]
        await asyncio.to_thread(folder.unlink)
        usage.changed(account)
        await usage.written()
        events = [line["event"] for line in logs][1:]
        assert events == ["usage_file_made_anew", "usage_written_again"]
    async with open_usage(folder / "usage.sqlite") as usage:
        account = usage.account("laptop")
        assert account.audio_left_s(LIMITS) == pytest.approx(45.0)
        assert account.window.count(account.clocks.monotonic()) == 3


async def test_who_waits_for_it_finds_all_in_the_file(tmp_path: Path):
    """Of fifty that wait at once, as few writes as can be."""
    path = tmp_path / "usage.sqlite"
    writes: list[int] = []

    class Counted(UsageFile):
        def save(self, changed, **more):
            writes.append(len(changed))
            return super().save(changed, **more)

    file = await asyncio.to_thread(Counted, path)
    usage = UsageKeeper(file)

    async def one(number: int) -> None:
        account = usage.account(f"key-{number}")
        account.charge(1.0, NO_LIMITS)
        usage.changed(account)
        await usage.written()

    await asyncio.gather(*map(one, range(50)))
    assert sum(writes) == 50
    assert len(writes) <= 3
    day = usage.account("key-7").clocks.today()
    found = await asyncio.to_thread(file.load, unix_s=0.0, days=[day])
    assert {name: saved.days[day].audio_s for name, saved in found.items()} == {
        f"key-{number}": 1.0 for number in range(50)
    }
    await usage.close()


async def test_it_is_written_soon_although_nobody_waits(tmp_path: Path):
    """The file is all that a killed process leaves."""
    arrived = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Watched(UsageFile):
        def save(self, changed, **more):
            before = super().save(changed, **more)
            loop.call_soon_threadsafe(arrived.set)
            return before

    usage = UsageKeeper(await asyncio.to_thread(Watched, tmp_path / "usage.sqlite"))
    await usage.open()
    usage.changed(usage.account("a"))
    async with asyncio.timeout(15):
        await arrived.wait()
    await usage.close()


async def test_what_is_being_written_is_written_before_the_file_is_closed(tmp_path: Path):
    """A thread that used the connection while another one closed it ended the process."""
    loop, begun, may_go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    doing: list[str] = []

    class Slow(UsageFile):
        def save(self, changed, **more):
            doing.append("begin")
            loop.call_soon_threadsafe(begun.set)
            assert may_go_on.wait(20)
            before = super().save(changed, **more)
            doing.append("end")
            return before

        def close(self):
            doing.append("close")
            super().close()

    usage = UsageKeeper(await asyncio.to_thread(Slow, tmp_path / "usage.sqlite"))
    await usage.open()
    usage.account("laptop").charge(20.0, LIMITS)
    usage.changed(usage.account("laptop"))
    await begun.wait()
    async with asyncio.TaskGroup() as group:
        group.create_task(usage.close())
        for _ in range(100):
            await asyncio.sleep(0)
        may_go_on.set()
    assert doing == ["begin", "end", "close"]
    async with open_usage(tmp_path / "usage.sqlite") as usage:
        assert usage.account("laptop").audio_left_s(LIMITS) == pytest.approx(40.0)


async def test_a_file_that_cannot_be_used_is_warned_of_once(tmp_path: Path):
    """Unless it was asked for by name; then the server does not start."""
    path = tmp_path / "file"
    path.write_text("")
    with capture_logs() as logs:
        async with open_usage(path / "usage.sqlite") as usage:
            usage.account("a").admit(LIMITS)
            usage.changed(usage.account("a"), began=True)
            await usage.written()
    assert [entry["event"] for entry in logs] == ["usage_not_kept"]
    with pytest.raises(ConfigurationError, match="usage file"):
        async with open_usage(path / "usage.sqlite", is_wanted=True):
            pass


async def test_what_could_not_be_written_is_written_later(tmp_path: Path):
    """Nobody waits for ever, and the log says it once."""

    class Full(UsageFile):
        is_full = True

        def save(self, changed, **more):
            if self.is_full:
                raise sqlite3.OperationalError("database or disk is full")
            return super().save(changed, **more)

    file = await asyncio.to_thread(Full, tmp_path / "usage.sqlite")
    usage = UsageKeeper(file)
    account = usage.account("a")
    with capture_logs() as logs:
        for _ in range(2):
            account.admit(NO_LIMITS)
            usage.changed(account, began=True)
            usage.note_charged("one")
            await usage.written()
        file.is_full = False
        usage.changed(usage.account("b"))
        await usage.written()
    assert [entry["event"] for entry in logs] == ["usage_not_written", "usage_written_again"]
    found = await asyncio.to_thread(file.load, unix_s=usage.clocks.unix(), days=[])
    assert found["a"].total.requests == len(found["a"].recent) == 2
    assert await asyncio.to_thread(file.charged) == ["one"]
    await usage.close()


async def test_without_a_file_only_the_last_work_is_remembered():
    """Jobs may be made for months."""
    async with open_usage(None) as usage:
        tracemalloc.start()
        try:
            for number in range(20_000):
                usage.note_charged(f"job {number}")
            held_bytes = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert held_bytes < 600_000
        assert usage.is_charged("job 19999")
        assert not usage.is_charged("job 1")


async def test_a_clock_that_was_wrong_at_the_start_forgets_no_budget(tmp_path: Path):
    """Small machines begin in 1970, and are told the time a little later."""
    path, now = tmp_path / "usage.sqlite", [1_795_305_600.0]
    clocks = Clocks(monotonic=time.monotonic, unix=lambda: now[0])

    async def heard(usage: UsageKeeper, seconds: float) -> float:
        account = usage.account("a")
        account.charge(seconds, LIMITS)
        usage.changed(account)
        await usage.written()
        return account.audio_left_s(LIMITS)

    async def opened() -> UsageKeeper:
        usage = UsageKeeper(await asyncio.to_thread(UsageFile, path), clocks)
        await usage.open()
        return usage

    usage = await opened()
    assert await heard(usage, 20.0) == pytest.approx(40.0)
    await usage.close()
    right_s, now[0] = now[0], 432_000.0
    usage = await opened()
    assert await heard(usage, 5.0) == pytest.approx(55.0)
    now[0] = right_s
    assert await heard(usage, 10.0) == pytest.approx(30.0)
    for later in range(1, KEPT_DAYS + 2):  # a clock that jumps, day after day, and comes back
        now[0] = right_s + later * 8_640_000
        await heard(usage, 1.0)
    now[0] = right_s
    assert await heard(usage, 10.0) == pytest.approx(20.0)
    await usage.close()
    usage = await opened()
    assert usage.account("a").audio_left_s(LIMITS) == pytest.approx(20.0)
    await usage.close()
