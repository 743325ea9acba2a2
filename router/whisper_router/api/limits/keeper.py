"""The accounts of all keys, and their file: written soon, and before some answers are given."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from whisper_router.api.limits.account import KEPT_DAYS, Account, Clocks, Figures
from whisper_router.api.limits.store import MOST_CHARGED, Saved, UsageFile
from whisper_router.api.limits.window import SPAN_S
from whisper_router.errors import ConfigurationError
from whisper_router.tasks import Tasks

SOON_S = 0.25
"""How long at most, besides the writing itself, the file is behind what was counted."""

log = structlog.get_logger(__name__)


class UsageKeeper:
    """Has an account for every name that ever called. Without a file all is forgotten at the end.

    What is counted is in the file within `SOON_S`; `written` waits for that, and what many wait for
    is written at once.
    """

    def __init__(self, file: UsageFile | None = None, clocks: Clocks | None = None) -> None:
        self.clocks = clocks or Clocks(monotonic=time.monotonic, unix=time.time)
        self._file, self._accounts = file, dict[str, Account]()
        self._changed: set[str] = set()
        self._begun: dict[str, list[float]] = {}
        """Requests that are not in the file yet, in Unix time."""
        self._charged: dict[str, None] = {}  # the oldest first
        self._newly_charged: list[str] = []
        self._changes = self._saved = 0
        self._writing, self._is_due = asyncio.Lock(), asyncio.Event()
        self._tasks, self._has_failed = Tasks(), False

    def account(self, name: str) -> Account:
        """Return the account of a key's name; of the empty name where nobody needs a key."""
        if name not in self._accounts:
            self._accounts[name] = Account(
                name=name, clocks=self.clocks, since_s=self.clocks.unix()
            )
        return self._accounts[name]

    def changed(self, account: Account, *, began: bool = False) -> None:
        """Note that an account is to be written; `began`: because a request was admitted."""
        if self._file is None:
            return
        self._changed.add(account.name)
        if began:
            self._begun.setdefault(account.name, []).append(self.clocks.unix())
        self._changes += 1
        self._is_due.set()

    def is_charged(self, work: str) -> bool:
        """Return whether work of this name was charged, and not much has been since."""
        return work in self._charged

    def note_charged(self, work: str) -> None:
        """Remember that work was charged; in the file it is so together with its figures.

        To be called before anything else is awaited.
        """
        if work:
            self._charged[work] = None
            self._newly_charged.append(work)
            del self._newly_charged[:-MOST_CHARGED]  # without a file nobody takes them
            for old in list(self._charged)[:-MOST_CHARGED]:
                del self._charged[old]

    async def written(self) -> None:
        """Return once all that has changed until now is in the file, if it can be written."""
        wanted = self._changes
        if self._file is not None and self._saved < wanted:
            await self._tasks.in_full(self._write(wanted), name="write usage")

    async def open(self) -> None:
        """Read what the file has, and begin to write what changes."""
        if self._file is None:
            return
        now_s = self.clocks.unix()
        days = [_day(now_s, back) for back in range(-1, KEPT_DAYS)]
        found = await asyncio.to_thread(self._file.load, unix_s=now_s, days=days)
        self._charged = dict.fromkeys(await asyncio.to_thread(self._file.charged))
        for name, saved in found.items():
            self._restore(name, saved)
        self._tasks.spawn(self._write_soon(), name="write usage")

    async def close(self) -> None:
        """Write what is left, and close the file."""
        async with self._writing:  # one that is broken off goes on in its thread, on a closed file
            await self._tasks.close_in_full()
        if self._file is not None:
            await self._write(self._changes)
            await asyncio.to_thread(self._file.close)

    def _restore(self, name: str, saved: Saved) -> None:
        account = self.account(name)
        account.since_s, account.total = saved.since_s, saved.total
        account.days.update(saved.days)
        account.known.update(saved.days)
        now_s = self.clocks.unix()
        ages = [(min(SPAN_S, now_s - at_s), 1) for at_s in saved.recent]
        account.window.restore(ages, self.clocks.monotonic())

    async def _write_soon(self) -> None:
        while True:
            await self._is_due.wait()
            await asyncio.sleep(SOON_S)
            self._is_due.clear()
            await self._write(self._changes)

    async def _write(self, wanted: int) -> None:
        async with self._writing:
            if self._saved >= wanted or self._file is None:
                return  # somebody else has written it meanwhile
            changes = self._changes
            try:
                await self._renew(self._file)
                changes = await self._save(self._file)
            except (sqlite3.Error, ConfigurationError) as error:
                if not self._has_failed:
                    log.warning("usage_not_written", reason=str(error))
                self._has_failed = True
            else:
                if self._has_failed:
                    log.info("usage_written_again")
                self._has_failed = False
            self._saved = changes

    async def _renew(self, file: UsageFile) -> None:
        """Have everything written to a new file if the one that there was is gone."""
        try:
            if not await asyncio.to_thread(file.renew):
                return
        except ConfigurationError:
            begun, self._begun = self._begun, {}
            self._keep_for_later(set(), begun, [])  # which may be long
            raise
        log.warning("usage_file_made_anew")
        self._changed |= self._accounts.keys()
        self._newly_charged = list(self._charged)

    async def _save(self, file: UsageFile) -> int:
        """Write what has changed, or keep it for later; return how many changes that was."""
        changes, changed, begun = self._changes, self._changed, self._begun
        charged, self._newly_charged = self._newly_charged, []
        self._changed, self._begun = set(), {}
        rows = {name: self._row(name, begun.get(name, ())) for name in changed}
        try:
            before = await asyncio.to_thread(
                file.save, rows, unix_s=self.clocks.unix(), charged=charged
            )
        except sqlite3.Error:
            self._keep_for_later(changed, begun, charged)
            raise
        self._complete(rows, before)
        return changes

    def _row(self, name: str, begun: Iterable[float]) -> Saved:
        account = self._accounts[name]
        return Saved(
            since_s=account.since_s,
            total=replace(account.total),
            days={day: replace(figures) for day, figures in account.days.items()},
            recent=tuple(begun),
            unknown=frozenset(account.days.keys() - account.known),
        )

    def _complete(
        self, rows: Mapping[str, Saved], before: Mapping[tuple[str, str], Figures]
    ) -> None:
        """Add what the file had of days on which the clock was not when the file was read."""
        for name, row in rows.items():
            account = self._accounts[name]
            for day in row.unknown & account.days.keys():
                account.known.add(day)
                if (name, day) in before:
                    account.days[day].add(before[name, day])

    def _keep_for_later(
        self, changed: set[str], begun: Mapping[str, list[float]], charged: list[str]
    ) -> None:
        """Write it with what changes next."""
        self._changed |= changed
        self._newly_charged = (charged + self._newly_charged)[-MOST_CHARGED:]
        oldest_s = self.clocks.unix() - SPAN_S
        for name, times in begun.items():
            kept = [at_s for at_s in times if at_s > oldest_s]
            self._begun[name] = kept + self._begun.get(name, [])


@asynccontextmanager
async def open_usage(path: Path | None, *, is_wanted: bool = False) -> AsyncIterator[UsageKeeper]:
    """Keep usage in a file until the block ends; None, or one that cannot be used: in memory.

    Raises:
        ConfigurationError: the file cannot be used, and `is_wanted`.
    """
    file = None
    try:
        file = None if path is None else await asyncio.to_thread(UsageFile, path)
    except ConfigurationError as error:
        if is_wanted:
            raise
        log.warning("usage_not_kept", reason=str(error))
    keeper = UsageKeeper(file)
    await keeper.open()
    try:
        yield keeper
    finally:
        await keeper.close()


def _day(unix_s: float, back: int) -> str:
    return (datetime.fromtimestamp(unix_s, UTC).date() - timedelta(days=back)).isoformat()
