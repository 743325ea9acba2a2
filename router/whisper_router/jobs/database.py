"""A SQLite file with one connection: what is written together, and what its errors mean here."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from whisper_router.errors import ConfigurationError, StorageFull
from whisper_router.jobs.errors import StoreUnavailable
from whisper_router.jobs.schema import PRAGMAS, VERSION, script_from


@asynccontextmanager
async def open_database(path: Path) -> AsyncIterator["Database"]:
    """Open the file, or make it, readable for its owner alone; close it at the end.

    Raises:
        ConfigurationError: it is not ours, of a newer version, damaged, or cannot be written.
    """
    try:
        await asyncio.to_thread(_make, path)
        connection = await aiosqlite.connect(path, isolation_level=None)
    except (OSError, aiosqlite.Error) as error:
        raise ConfigurationError(f"the job store {path} cannot be used: {error}") from error
    database = Database(connection)
    try:
        connection.row_factory = aiosqlite.Row
        await _prepare(connection, path)
        yield database
    finally:
        await database.close()


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


async def _prepare(connection: aiosqlite.Connection, path: Path) -> None:
    try:
        for pragma in PRAGMAS:
            await connection.execute_fetchall(pragma)
        [[found], *_] = await connection.execute_fetchall("PRAGMA quick_check(1)")
        if found != "ok":
            raise ConfigurationError(f"the job store {path} is damaged: {found}")
        [[version]] = await connection.execute_fetchall("PRAGMA user_version")
        if version > VERSION:
            raise ConfigurationError(
                f"the job store {path} is of version {version}; this program knows {VERSION}"
            )
        if version < VERSION:
            await connection.executescript(script_from(version))
    except aiosqlite.Error as error:
        raise ConfigurationError(f"the job store {path} cannot be used: {error}") from error


class Database:
    """One connection, whose thread does one thing after the other.

    Nobody else writes while several statements are to take effect together, and whoever waits for
    them may be cancelled without ending them half-way. What is read is read in one go, so that
    nothing is half read when something else is done.

    All methods raise StorageFull when there is no room, StoreUnavailable for other failures.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self._writing = asyncio.Lock()

    async def close(self) -> None:
        """Close it, once what is being written is."""
        async with self._writing:
            await self._connection.close()

    async def read(self, sql: str, values: Sequence[object] = ()) -> Sequence[sqlite3.Row]:
        """Return all rows."""
        with _translated():
            return list(await self._connection.execute_fetchall(sql, values))

    async def one(self, sql: str, values: Sequence[object] = ()) -> Any:
        """Return the first value of the first row; None: there is none."""
        rows = await self.read(sql, values)
        return rows[0][0] if rows else None

    async def write(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement; return how many rows it has changed."""
        return await asyncio.shield(self._write(sql, values))

    async def change(self, sql: str, values: Sequence[object]) -> Sequence[sqlite3.Row]:
        """Run one statement that returns rows."""
        return await asyncio.shield(self._change(sql, values))

    async def execute(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement of a transaction; return how many rows it has changed."""
        async with self._connection.execute(sql, values) as cursor:
            return cursor.rowcount

    @asynccontextmanager
    async def together(self) -> AsyncIterator["Database"]:
        """Do all of the block or, if it raises, nothing of it. To be run under a shield."""
        async with self._writing:
            with _translated():
                await self._connection.execute_fetchall("BEGIN IMMEDIATE")
                try:
                    yield self
                    await self._connection.execute_fetchall("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:  # a full disk may have ended it
                        await self._connection.execute_fetchall("ROLLBACK")
                    raise

    async def empty_log(self) -> None:
        """Have nothing in the write-ahead log: what was erased may still be there."""
        await asyncio.shield(self._change("PRAGMA wal_checkpoint(TRUNCATE)", ()))

    async def _write(self, sql: str, values: Sequence[object]) -> int:
        async with self._writing:
            with _translated():
                return await self.execute(sql, values)

    async def _change(self, sql: str, values: Sequence[object]) -> Sequence[sqlite3.Row]:
        async with self._writing:
            with _translated():
                return list(await self._connection.execute_fetchall(sql, values))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:  # a rule of the tables: who writes knows what it means
        raise
    except sqlite3.DatabaseError as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull("There is no room on the server's disk for its jobs.") from error
        name = getattr(error, "sqlite_errorname", None) or "an error"
        if code == sqlite3.SQLITE_ERROR:  # a bug
            raise
        raise StoreUnavailable(f"The store of the jobs cannot be used now ({name}).") from error
