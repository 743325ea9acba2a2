"""Deliveries in the SQLite file: who is to be told of a job's end, and what came of it."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from whisper_router.jobs.database import Database
from whisper_router.jobs.model import Delivery
from whisper_router.jobs.rows import delivery_of

log = structlog.get_logger(__name__)


class SqliteDeliveries:
    """The part of `JobStore` that is about deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def deliveries(self, job_id: str) -> Sequence[Delivery]:
        """Return whom the job's end was told, or is to be."""
        return await self._deliveries("WHERE job = ?", (job_id,))

    async def due(self, *, now_s: float, limit: int) -> Sequence[Delivery]:
        """Return deliveries that are to be tried now."""
        return await self._deliveries("WHERE next_s <= ? ORDER BY next_s LIMIT ?", (now_s, limit))

    async def next_due_s(self) -> float | None:
        """Return when the next delivery is to be tried; None: there is none."""
        found: float | None = await self._database.one("SELECT min(next_s) FROM deliveries")
        return found

    async def tried(
        self,
        delivery_id: str,
        *,
        entry: Mapping[str, Any],
        next_s: float | None,
        delivered_s: float | None,
    ) -> None:
        """Note an attempt, and when the next one is; None: there is none."""
        await self._database.write(
            "UPDATE deliveries SET attempts = attempts + 1, next_s = ?, delivered_s = ?, "
            "log = json_insert(log, '$[#]', json(?)) WHERE id = ?",
            (next_s, delivered_s, json.dumps(entry), delivery_id),
        )

    async def _deliveries(self, where: str, values: Sequence[object]) -> Sequence[Delivery]:
        sql = f"SELECT * FROM deliveries {where}"  # noqa: S608 - all of it is written here
        found = list[Delivery]()
        for row in await self._database.read(sql, values):
            try:
                found.append(delivery_of(row))
            except (ValueError, TypeError, KeyError):
                await self._give_up(row)
        return found

    async def _give_up(self, row: sqlite3.Row) -> None:
        """Have a delivery that cannot be read not be found due for ever."""
        log.warning("delivery_unreadable", delivery=str(row["id"])[:100])
        if row["next_s"] is not None:
            sql = "UPDATE deliveries SET next_s = NULL WHERE id = ?"
            await self._database.write(sql, (row["id"],))
