"""The file that keeps figures over restarts: SQLite, of one process at a time. All of it blocks."""

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from whisper_router.api.limits.account import Figures
from whisper_router.api.limits.window import SPAN_S
from whisper_router.errors import ConfigurationError

VERSION = 1
SCHEMA = f"""
BEGIN;
CREATE TABLE days (
  key TEXT NOT NULL,
  day TEXT NOT NULL,
  requests INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  audio_s REAL NOT NULL,
  PRIMARY KEY (key, day)
) WITHOUT ROWID;
CREATE TABLE totals (
  key TEXT PRIMARY KEY,
  requests INTEGER NOT NULL,
  errors INTEGER NOT NULL,
  audio_s REAL NOT NULL,
  since_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE recent (key TEXT NOT NULL, unix_s REAL NOT NULL);
CREATE INDEX recent_by_time ON recent (unix_s);
PRAGMA user_version = {VERSION};
COMMIT;
"""
ADDED = "CREATE TABLE IF NOT EXISTS charged (place INTEGER PRIMARY KEY, work TEXT NOT NULL UNIQUE)"
"""Jobs that were charged; a program that does not know it leaves it alone."""
PRAGMAS = (
    "PRAGMA locking_mode = EXCLUSIVE",  # the kernel drops the lock with its holder
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",  # what is written outlives the process, if not the machine
    f"PRAGMA journal_size_limit = {1 << 20}",
)
BUSY_S = 1.0
MOST_DAYS = 400
"""Days that are kept in the file for each key.

The newest, and not those since some date: the clock may be wrong, for years, when that is decided.
"""
MOST_CHARGED = 1000
"""Of so many jobs it is remembered that they were charged: more than can be about to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What is kept of one key. `recent` are the requests of the last minute, in Unix time.

    `unknown` are those of the days of which the file may have more than is known here.
    """

    since_s: float
    total: Figures
    days: Mapping[str, Figures]
    recent: Sequence[float] = field(default_factory=tuple)
    unknown: frozenset[str] = frozenset()


class UsageFile:
    """Opens the file, or makes it, readable for its owner alone.

    To be used by one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError: it cannot be used, or another process uses it."""
        self._path = path
        self._connection, self._identity = self._open()

    def renew(self) -> bool:
        """Make the file anew if somebody has moved it away or deleted it; True: so it was.

        What is written to one that is gone is gone with the process.

        Raises:
            ConfigurationError: that cannot be done; the old one is written still.
        """
        if _identity(self._path) == self._identity:
            return False
        old = self._connection
        self._connection, self._identity = self._open()
        old.close()
        return True

    def load(self, *, unix_s: float, days: Sequence[str]) -> Mapping[str, Saved]:
        """Return what is kept of every key: its total, some days, and the last minute."""
        own_days: dict[str, dict[str, Figures]] = {}
        places = ", ".join("?" * len(days))
        for key, day, *figures in self._rows(
            f"SELECT key, day, requests, errors, audio_s FROM days WHERE day IN ({places})",  # noqa: S608
            days,
        ):
            own_days.setdefault(key, {})[day] = Figures(*figures)
        recent: dict[str, list[float]] = {}
        for key, at_s in self._rows(
            "SELECT key, unix_s FROM recent WHERE unix_s > ? AND unix_s <= ? ORDER BY unix_s",
            _minute(unix_s),
        ):
            recent.setdefault(key, []).append(at_s)
        return {
            key: Saved(
                since_s=since_s,
                total=Figures(*figures),
                days=own_days.get(key, {}),
                recent=tuple(recent.get(key, ())),
            )
            for key, since_s, *figures in self._rows(
                "SELECT key, since_s, requests, errors, audio_s FROM totals", ()
            )
        }

    def charged(self) -> Sequence[str]:
        """Return the work that was charged last, the oldest first."""
        return [work for [work] in self._rows("SELECT work FROM charged ORDER BY place", ())]

    def save(
        self, changed: Mapping[str, Saved], *, unix_s: float, charged: Sequence[str] = ()
    ) -> Mapping[tuple[str, str], Figures]:
        """Write keys as they are now, the requests that are new, and the work that was charged.

        All of it, or nothing.

        Return by key and day what the file had of days that were unknown: it is added to them.

        Raises:
            sqlite3.Error: it could not be written.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._many("INSERT OR REPLACE INTO totals VALUES (?, ?, ?, ?, ?)", _totals(changed))
            before = self._before(changed)
            self._many("INSERT OR REPLACE INTO days VALUES (?, ?, ?, ?, ?)", _days(changed, before))
            self._many("INSERT INTO recent VALUES (?, ?)", _recent(changed))
            self._many("INSERT OR IGNORE INTO charged (work) VALUES (?)", zip(charged))
            self._connection.execute(
                "DELETE FROM charged WHERE place <= (SELECT max(place) FROM charged) - ?",
                (MOST_CHARGED,),
            )
            self._connection.execute(
                "DELETE FROM recent WHERE unix_s <= ? OR unix_s > ?", _minute(unix_s)
            )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk may have ended it
                self._connection.execute("ROLLBACK")
            raise
        return before

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> tuple[sqlite3.Connection, object]:
        path = self._path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"the usage file {path} cannot be used: {error}") from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise ConfigurationError(f"the usage file {path} cannot be used: {error}") from error
        except ConfigurationError:
            connection.close()
            raise
        return connection, _identity(path)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for pragma in PRAGMAS:
            connection.execute(pragma).fetchall()
        [[version]] = connection.execute("PRAGMA user_version").fetchall()
        if version > VERSION:
            raise ConfigurationError(
                f"the usage file {self._path} is of version {version}; this program knows {VERSION}"
            )
        if version < VERSION:
            connection.executescript(SCHEMA)
        connection.execute(ADDED)
        connection.execute(  # takes the lock that other processes find
            "DELETE FROM days WHERE (key, day) IN (SELECT key, day FROM (SELECT key, day, "
            "row_number() OVER (PARTITION BY key ORDER BY day DESC) AS place FROM days) "
            "WHERE place > ?)",
            (MOST_DAYS,),
        )

    def _before(self, changed: Mapping[str, Saved]) -> Mapping[tuple[str, str], Figures]:
        """Return what the file has of days that are not known."""
        asked = [(key, day) for key, saved in changed.items() for day in saved.unknown]
        sql = "SELECT requests, errors, audio_s FROM days WHERE key = ? AND day = ?"
        return {place: Figures(*row) for place in asked for row in self._rows(sql, place)}

    def _rows(self, sql: str, values: Sequence[object]) -> Sequence[Sequence[Any]]:
        return self._connection.execute(sql, values).fetchall()

    def _many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        self._connection.executemany(sql, rows)


def _identity(path: Path) -> object:
    """Return which file this is; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _totals(changed: Mapping[str, Saved]) -> Iterable[Sequence[object]]:
    for key, saved in changed.items():
        total = saved.total
        yield key, total.requests, total.errors, total.audio_s, saved.since_s


def _days(
    changed: Mapping[str, Saved], before: Mapping[tuple[str, str], Figures]
) -> Iterable[Sequence[object]]:
    for key, saved in changed.items():
        for day, figures in saved.days.items():
            whole = replace(figures)
            if (key, day) in before:
                whole.add(before[key, day])
            yield key, day, whole.requests, whole.errors, whole.audio_s


def _recent(changed: Mapping[str, Saved]) -> Iterable[Sequence[object]]:
    for key, saved in changed.items():
        for at_s in saved.recent:
            yield key, at_s


def _minute(unix_s: float) -> tuple[float, float]:
    """Return after when, and until when, requests count: what is far ahead is of a wrong clock."""
    return unix_s - SPAN_S, unix_s + SPAN_S
