"""The HTTP session to one engine process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

import aiohttp

from whisper_router.engine_api import Endpoint, EndpointKind
from whisper_router.errors import EngineCrashed
from whisper_router.tasks import Tasks

CONNECT_TIMEOUT_S: Final = 10.0


class Connection:
    """A session that outlives its process for as long as somebody still uses it.

    Who holds a lease on a process that died must see a refused connection, an error that engines
    know, and not a session closed under their hands.
    """

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession, *, tasks: Tasks) -> None:
        self.endpoint, self.http = endpoint, http
        self.is_interrupted = False
        """The process behind it was ended, by us or by others, and did not fail by itself."""
        self._tasks = tasks
        self._users = 0
        self._is_retired = False
        self._when_lost: set[Callable[[], None]] = set()

    @property
    def users(self) -> int:
        """How many use it."""
        return self._users

    @contextlib.asynccontextmanager
    async def unless_lost(self) -> AsyncIterator[None]:
        """Interrupt the block when it is known that nothing will come any more.

        Raises:
            EngineCrashed: that is so.
        """
        loop, limit = asyncio.get_running_loop(), asyncio.timeout(None)
        try:
            async with limit:
                interrupt = partial(limit.reschedule, loop.time())
                self._when_lost.add(interrupt)
                try:
                    yield
                finally:
                    self._when_lost.discard(interrupt)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise EngineCrashed(f"{self.endpoint.url} is gone.") from error

    def lose(self) -> None:
        """Interrupt who waits for something that will not come."""
        for interrupt in list(self._when_lost):
            self._when_lost.discard(interrupt)
            interrupt()

    def hold(self) -> None:
        """Keep the session open until `drop`."""
        self._users += 1

    def drop(self) -> None:
        """Undo one `hold`."""
        self._users -= 1
        if self._is_retired and self._users == 0:
            self._tasks.spawn(self.http.close(), name="close engine session")

    async def retire(self) -> None:
        """Close the session, now or when its last user drops it."""
        self._is_retired = True
        if self._users == 0:
            await asyncio.shield(self.http.close())


def open_session(endpoint: Endpoint) -> aiohttp.ClientSession:
    """Return a session to the endpoint, without limits of its own.

    Connections are used once: a worker of a pre-forked engine that keeps one alive would wait on
    it while others queue for a free worker, and a server elsewhere may close it just when it is to
    be used again.
    """
    connector: aiohttp.BaseConnector
    if endpoint.kind is EndpointKind.UNIX and endpoint.socket is not None:
        connector = aiohttp.UnixConnector(path=str(endpoint.socket), limit=0, force_close=True)
    else:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
    return _session(connector)


def _session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
