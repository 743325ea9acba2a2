"""Requests with wrong keys: counted, and logged without letting whoever sends them fill the log.

Nobody is locked out: a key of ours cannot be guessed, and behind an address that sends wrong ones
there may be others with good ones.
"""

import asyncio
from typing import Final

import structlog
from aiohttp import web

from whisper_router.metrics import WRONG_KEYS as COUNTED

LOGGED_EACH: Final = 5
"""So many per address are logged as they come; those after them as one number."""
WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 1024
OTHERS: Final = "others"

log = structlog.get_logger(__name__)


class PerAddress:
    """Counts what comes from each address, for a minute from the first, and sums up what is much.

    `event` is the name of the line that does so.
    """

    def __init__(self, event: str, *, window_s: float = WINDOW_S) -> None:
        self._event, self._window_s = event, window_s
        self._counts: dict[str, int] = {}

    def is_too_many(self, address: str) -> bool:
        """Count one. True: there were so many from there that this one is not worth a line."""
        if address not in self._counts and len(self._counts) >= MOST_ADDRESSES:
            address = OTHERS
        count = self._counts[address] = self._counts.get(address, 0) + 1
        if count == 1:
            loop = asyncio.get_running_loop()
            loop.call_later(self._window_s, self._sum_up, address)
        return count > LOGGED_EACH

    def _sum_up(self, address: str) -> None:
        count = self._counts.pop(address)
        if count > LOGGED_EACH:
            log.warning(self._event, client=address, count=count, seconds=round(self._window_s))


class WrongKeys:
    """Counts requests with wrong keys."""

    def __init__(self, *, window_s: float = WINDOW_S) -> None:
        self._shown = PerAddress("wrong_keys", window_s=window_s)

    def note(self, address: str) -> bool:
        """Count one. True: there were so many from there that this one is not worth a line."""
        COUNTED.inc()
        return self._shown.is_too_many(address)


WRONG_KEYS = web.AppKey("wrong_keys", WrongKeys)
